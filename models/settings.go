package models

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"
)

// SetupCode returns the one-time code that protects the set-up page, and makes it on first use. It is empty when the
// set-up is over.
func (s *Store) SetupCode(ctx context.Context) (string, error) {
	if has, err := s.HasUsers(ctx); has || err != nil {
		return "", err
	}
	var b [10]byte
	rand.Read(b[:])
	var code string
	err := s.pool.QueryRow(ctx, `insert into settings (key, value) values ('setup_code', to_jsonb($1::text))
		on conflict (key) do update set value = settings.value returning value #>> '{}'`, lowerBase32.EncodeToString(b[:])).Scan(&code)
	return code, err
}

// CheckSetupCode reports whether code is the set-up's code.
func (s *Store) CheckSetupCode(ctx context.Context, code string) (bool, error) {
	want, err := s.SetupCode(ctx)
	if err != nil {
		return false, err
	}
	return want != "" && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1, nil
}

// Setting reads a fact the server keeps about itself into v. It reports whether there is one.
func (s *Store) Setting(ctx context.Context, key string, v any) (bool, error) {
	var raw []byte
	err := s.pool.QueryRow(ctx, "select value from settings where key = $1", key).Scan(&raw)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, json.Unmarshal(raw, v)
}

// raiseSetting adds one to a version, by which processes find out that what they have read is old.
func raiseSetting(ctx context.Context, tx pgx.Tx, key string) error {
	_, err := tx.Exec(ctx, `insert into settings (key, value) values ($1, '1')
		on conflict (key) do update set value = to_jsonb((settings.value #>> '{}')::bigint + 1)`, key)
	return err
}

// SetSetting keeps a fact.
func (s *Store) SetSetting(ctx context.Context, key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = s.pool.Exec(ctx, "insert into settings (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value",
		key, raw)
	return err
}
