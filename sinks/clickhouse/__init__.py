"""The ClickHouse sink: schema, writer, and what its errors mean."""
