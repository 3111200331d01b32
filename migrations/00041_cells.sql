-- +goose Up

-- Further databases that hold tenants (models/cell.go). Only the database of DATABASE_URL, which says where everybody is, has rows
-- here and in tenant_moves.
create table cells (
  number      smallint primary key check (number between 1 and 32000), -- in the upper bits of the keys that the cell gives out
  name        text not null unique,
  address     bytea not null,                      -- sealed connection string
  draining_at timestamptz,                         -- since when new tenants go elsewhere; null for not at all
  created_at  timestamptz not null default now()
);

-- The cell where the tenant's rows are; null for this database. In the database of DATABASE_URL that is the directory; in one that
-- the tenant has left it refuses what comes late.
alter table tenants add column cell text;

-- While this is in the future nothing of the tenant's is written: it is about to go elsewhere.
alter table tenants add column held_until timestamptz;

-- The first position in the feed here of a tenant that came from another cell; null for others. A cursor before it is of that cell.
alter table tenants add column feed_base bigint;

-- Of a change that came with its tenant from another cell: its position there. Null for the cell's own.
alter table changes add column was bigint;

create table tenant_moves (
  id          uuid primary key,                    -- UUIDv7
  tenant_key  bigint not null references tenants (key),
  source      text,                                -- a cell; null for the database of DATABASE_URL
  target      text,
  phase       text not null,
  progress    jsonb not null default '{}',
  error       text not null default '',            -- why the last try did not get on; empty for none
  created_by  text not null,
  created_at  timestamptz not null default now(),
  switched_at timestamptz,                         -- since then the tenant is at the target
  finished_at timestamptz
);
create unique index tenant_moves_open on tenant_moves (tenant_key) where finished_at is null;

-- +goose Down
drop table tenant_moves;
alter table changes drop column was;
alter table tenants drop column feed_base;
alter table tenants drop column held_until;
alter table tenants drop column cell;
drop table cells;
