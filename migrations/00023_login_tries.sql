-- +goose Up
-- How often a password or a code was tried without success, by where the tries came from. All processes share these rows.
create table login_tries (
  key         text primary key,                    -- what is counted, see models.LoginFrom; accounts as a keyed hash
  tries       integer not null default 0,          -- fall again with time
  last_at     timestamptz not null default now(),  -- of the last try that was let through
  blocked_until timestamptz not null default now(),
  told        boolean not null default false       -- a refused try was recorded since then
);
create index login_tries_last on login_tries (last_at);

-- +goose Down
drop table login_tries;
