"""What documents and sources may take: processes that can be ended, and places that are lent in fair shares."""
