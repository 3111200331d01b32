-- +goose Up
-- Minutes of destinations added up by the hour, so that a long span is read from a sixtieth of the rows. They are made of
-- health_minutes some time after the hour has ended (models/health_roll.go), those from before this migration too.
create table health_hours (
  destination_key   bigint not null,
  hour              timestamptz not null,
  tenant_key        bigint not null,
  deliveries        integer not null,
  failed_deliveries integer not null,
  attempts          integer not null,
  failed_attempts   integer not null,
  given_up          integer not null,
  peak              integer not null,              -- the highest of its minutes
  filter_failures   integer not null,
  primary key (destination_key, hour)
);
create index health_hours_hour on health_hours (hour);

-- The one span whose hours are added up, of all destinations: from covered_from until before covered_to. Destinations without a row
-- of an hour in it had no minute.
create table health_hours_span (
  one          boolean primary key default true check (one),
  covered_from timestamptz not null,
  covered_to   timestamptz not null
);
insert into health_hours_span (covered_from, covered_to)
  select x, x from date_bin('1 hour', now(), timestamptz '2000-01-01 00:00:00+00') x;

-- Hours of which a minute was written late. Until they are added up anew their minutes count.
create table health_hours_late (
  hour            timestamptz not null,
  destination_key bigint not null,
  primary key (hour, destination_key)
);

-- A trigger notes them rather than whoever writes: processes of the last release, which know of no hours, fold minutes and move
-- tenants too. Minutes in time cost it one comparison. An hour that is noted already is locked until the minute is committed, so that
-- it is not added up without it.
-- +goose StatementBegin
create function note_late_minute() returns trigger language plpgsql as $f$
begin
  insert into public.health_hours_late (hour, destination_key)
    values (date_bin('1 hour', new.minute, timestamptz '2000-01-01 00:00:00+00'), new.destination_key)
    on conflict (hour, destination_key) do update set hour = excluded.hour where false;
  return null;
end $f$;
-- +goose StatementEnd
create trigger note_late_minute after insert or update on health_minutes for each row
  when (new.minute < clock_timestamp() - interval '15 minutes') execute function note_late_minute();

-- +goose Down
drop trigger note_late_minute on health_minutes;
drop function note_late_minute();
drop table health_hours_late, health_hours_span, health_hours;
