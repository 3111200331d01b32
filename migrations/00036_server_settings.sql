-- +goose Up
-- Defaults of the server that were changed while it runs, in place of what its environment says (models/settings_declared.go).
create table server_settings (
  one      boolean primary key default true check (one),
  version  bigint not null default 1,       -- rises with each change; processes look for it
  settings jsonb  not null default '{}',    -- {"retry_initial": "5s"}
  changes  jsonb  not null default '{}'     -- who changed each last, and when: {"retry_initial": {"by": "Ann", "at": "2026-…"}}
);
insert into server_settings default values;

-- +goose Down
drop table server_settings;
