-- +goose Up
-- Passkeys of users (Web Authentication, Level 3): the public half of a key that an authenticator of theirs has.
create table passkeys (
  id            uuid primary key,                  -- UUIDv7
  user_id       uuid not null references users (id) on delete cascade,
  rp_id         text not null,                     -- the host of BASE_URL that it is for; it works with no other
  credential_id bytea not null unique,             -- as the authenticator names it
  credential    jsonb not null,                    -- public key, counter, transports, flags: nothing secret
  name          text not null,
  created_at    timestamptz not null default now(),
  last_used_at  timestamptz,
  suspect_at    timestamptz                        -- its counter went back: there may be a copy of it
);
create index passkeys_user on passkeys (user_id);

-- What a browser was asked to sign, once, within minutes.
create table passkey_challenges (
  token_hash bytea primary key,                    -- SHA-256 of the browser's cookie
  purpose    text not null,                        -- add, login, code or confirm
  user_id    uuid references users (id) on delete cascade, -- null for a login, which says who it is by the passkey
  network    text not null default '',             -- that asked for it, of those who have not logged in
  session    jsonb not null,
  expires_at timestamptz not null
);
create index passkey_challenges_network on passkey_challenges (network) where network <> '';

-- Logins by a provider: their session there (sid), which a logout there names, and the name of a connection for people.
alter table sessions add column provider_issuer text not null default '', add column provider_sid text not null default '';
alter table login_steps add column provider_issuer text not null default '', add column provider_sid text not null default '';
create index sessions_provider on sessions (provider_issuer, provider_sid) where provider_sid <> '';
alter table identities add column id uuid not null default gen_random_uuid() unique;
-- When a user disconnected the provider themselves: a login alone does not connect it again.
alter table users add column disconnected_at timestamptz;

-- Logout tokens that were carried out, until they expire: each counts once.
create table logout_tokens (
  hash       bytea primary key,                    -- SHA-256 of issuer and jti
  expires_at timestamptz not null
);

-- Mails to one person, which a job sends and tries again: invitations, and what has changed about an account.
create table letters (
  id            uuid primary key,                  -- UUIDv7
  kind          text not null,                     -- invitation, or the action of the audit log that it tells of
  invitation_id uuid references invitations (id) on delete cascade,
  email         text not null,
  data          jsonb not null,                    -- what it tells
  token         bytea,                             -- sealed: of the invitation's link, until it is sent or given up
  status        text not null default 'waiting' check (status in ('waiting', 'sent', 'failed')),
  tries         integer not null default 0,
  error         text not null default '',          -- of the last try
  due_at        timestamptz not null default now(), -- of the next try
  created_at    timestamptz not null default now(),
  sent_at       timestamptz
);
create index letters_invitation on letters (invitation_id, id);

-- +goose Down
drop table letters, logout_tokens, passkey_challenges, passkeys;
alter table users drop column disconnected_at;
alter table identities drop column id;
alter table login_steps drop column provider_issuer, drop column provider_sid;
alter table sessions drop column provider_issuer, drop column provider_sid;
