"""Mail traffic as a provider sends it: histories of mails, cut into posts, sent over HTTP until they are answered."""
