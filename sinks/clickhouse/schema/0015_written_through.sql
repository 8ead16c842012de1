-- What is merged is on the disk before the parts that it was made of may go, and so is the name of each part: a loss of
-- power takes nothing that was there. Inserts were written through from the first.
alter table events modify setting min_rows_to_fsync_after_merge = 1, fsync_part_directory = 1;
alter table lifecycle_states modify setting min_rows_to_fsync_after_merge = 1, fsync_part_directory = 1;
alter table receipt_parts modify setting min_rows_to_fsync_after_merge = 1, fsync_part_directory = 1;
alter table answered_posts modify setting min_rows_to_fsync_after_merge = 1, fsync_part_directory = 1;
alter table dead_letters modify setting min_rows_to_fsync_after_merge = 1, fsync_part_directory = 1;
alter table suppression_states modify setting min_rows_to_fsync_after_merge = 1, fsync_part_directory = 1;
alter table losses modify setting min_rows_to_fsync_after_merge = 1, fsync_part_directory = 1;
alter table blocks modify setting min_rows_to_fsync_after_merge = 1, fsync_part_directory = 1;
alter table refusals modify setting min_rows_to_fsync_after_merge = 1, fsync_part_directory = 1;
alter table generations modify setting min_rows_to_fsync_after_merge = 1, fsync_part_directory = 1;
alter table replays modify setting min_rows_to_fsync_after_merge = 1, fsync_part_directory = 1;
alter table reached modify setting min_rows_to_fsync_after_merge = 1, fsync_part_directory = 1;
alter table hourly_counts modify setting min_rows_to_fsync_after_merge = 1, fsync_part_directory = 1;
alter table schema_migrations modify setting fsync_after_insert = 1, min_rows_to_fsync_after_merge = 1, fsync_part_directory = 1;
