-- +goose Up
-- Lists with conditions that somebody has given a name.
create table saved_views (
  id         uuid primary key,                     -- UUIDv7
  tenant_key bigint references tenants (key),      -- null for the operators' own, over all tenants
  user_id    uuid references users (id) on delete cascade, -- whose it is; null for everybody's who sees the tenant
  list       text not null,                        -- which list: events
  name       text not null,
  query      text not null,                        -- the list's address after the question mark
  position   integer not null,                     -- from 1, among those of the same list, tenant and user
  created_by text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create index saved_views_owner on saved_views (tenant_key, list, position);

-- +goose Down
drop table saved_views;
