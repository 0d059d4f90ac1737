-- name: text_search_languages
-- The text search configurations that a source may name.
SELECT cfgname FROM pg_catalog.pg_ts_config WHERE pg_catalog.pg_ts_config_is_visible(oid) ORDER BY cfgname;
