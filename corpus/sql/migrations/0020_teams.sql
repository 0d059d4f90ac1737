-- 0020 teams: who may call over Nexus, and what each team is granted.
-- Why: whoever reached the Nexus endpoint could search everything. Locks: none (new table). Phase: pre. Old code does not read it.

-- A team that `freshet apply` has configured. Its keys are in files of the gateway, never here.
CREATE TABLE freshet.team (
    team       text PRIMARY KEY,
    spec       jsonb NOT NULL,
    state      text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'ended')),
    changed_at timestamptz NOT NULL DEFAULT now()
);
