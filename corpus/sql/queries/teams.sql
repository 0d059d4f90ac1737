-- name: teams
-- Teams that may call, or might: an ended one is known and granted nothing. By name, all or one.
SELECT team, spec, state FROM freshet.team
 WHERE (%(team)s::text IS NULL OR team = %(team)s::text) ORDER BY team;

-- name: write_team
-- A team as the configuration has it.
INSERT INTO freshet.team (team, spec) VALUES (%(team)s, %(spec)s::jsonb)
ON CONFLICT (team) DO UPDATE SET spec = excluded.spec, state = 'active', changed_at = now();

-- name: end_team
-- A team is granted nothing any more. The row stays, so that its task queue is still served, with refusals.
UPDATE freshet.team SET state = 'ended', changed_at = now() WHERE team = %(team)s;
