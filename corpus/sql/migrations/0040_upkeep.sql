-- 0040 upkeep: the server's own vacuum leaves the chunks to `freshet maintain`, and is not slowed down where it comes.
-- Why: a vacuum of the chunks mends the graph of the vector index around each dead entry. With 5 % of them it took 2.3
--   times as long as the whole index takes to be built, with 60 % eleven times, and the server began one at each 5 %.
--   `freshet maintain` rebuilds the index at 20 %, after which a vacuum takes a second. The server's own comes where
--   nobody runs that, or more was withdrawn at once.
-- Locks: SHARE UPDATE EXCLUSIVE for a moment on the tables below: reading and writing continue.
-- Phase: pre. Old code is not concerned.

SET LOCAL lock_timeout = '10s';
-- 0016 said 5 % of closed chunks, and of new ones: a vacuum for new ones mends the graph, too. Searches and estimates
-- follow ANALYZE, which stays at 5 %.
ALTER TABLE freshet.chunk SET (
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.4,
    autovacuum_vacuum_insert_scale_factor = 0.4, autovacuum_vacuum_cost_limit = 2000);
