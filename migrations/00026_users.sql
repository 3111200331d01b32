-- +goose Up
-- A role for the whole server: owner, admin, developer, viewer, or null for none. Those who are users already could do
-- everything. So is the default, which the last release's set-up needs: it makes a first user without naming a role.
alter table users add column role text default 'owner' check (role in ('owner', 'admin', 'developer', 'viewer'));
alter table users add column last_login_at timestamptz;
alter table users add column totp_secret bytea;        -- sealed; null without a second factor
alter table users add column totp_enabled_at timestamptz; -- null until a first code has proved that the app has the secret
alter table users add column totp_step bigint not null default 0; -- of the last code that was used, in 30 seconds (RFC 6238)

-- Roles of users in single tenants.
create table memberships (
  user_id    uuid not null references users (id) on delete cascade,
  tenant_key bigint not null references tenants (key),
  role       text not null check (role in ('admin', 'developer', 'viewer')),
  created_at timestamptz not null default now(),
  primary key (user_id, tenant_key)
);
create index memberships_tenant on memberships (tenant_key);

-- Sessions of portal links have the new columns too, and leave confirmed_at empty.
alter table sessions add column id uuid not null default gen_random_uuid(); -- names it for people; the token does not leave the cookie
alter table sessions add column seen_at timestamptz not null default now(); -- to the minute
alter table sessions add column confirmed_at timestamptz; -- when the password was given last; null for not since this column
alter table sessions add column ip text not null default '';
alter table sessions add column browser text not null default ''; -- User-Agent
create index sessions_user on sessions (user_id);

create table invitations (
  id         uuid primary key,                     -- UUIDv7
  token_hash bytea not null unique,                -- SHA-256 of the token in the link
  email      text not null,
  role       text not null check (role in ('owner', 'admin', 'developer', 'viewer')),
  tenant_key bigint references tenants (key),      -- where the role is; null for the whole server
  created_by text not null,
  user_id    uuid references users (id) on delete cascade, -- who invites; null for an API key
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  used_at    timestamptz,                          -- accepted
  check (tenant_key is null or role <> 'owner')
);
create index invitations_tenant on invitations (tenant_key);

-- A login whose password was right and whose second factor is still to come.
create table login_steps (
  token_hash bytea primary key,                    -- SHA-256 of the cookie
  user_id    uuid not null references users (id) on delete cascade,
  expires_at timestamptz not null
);

create table recovery_codes (
  user_id uuid not null references users (id) on delete cascade,
  hash    bytea not null,                          -- SHA-256; the codes are random
  used_at timestamptz,
  primary key (user_id, hash)
);

-- +goose Down
drop index sessions_user;
drop table recovery_codes, login_steps, invitations, memberships;
alter table sessions drop column id, drop column seen_at, drop column confirmed_at, drop column ip, drop column browser;
alter table users drop column role, drop column last_login_at, drop column totp_secret, drop column totp_enabled_at,
  drop column totp_step;
