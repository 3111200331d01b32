package models

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/seal"
)

// keyCheck is the setting that tells which key the server's secrets are sealed with: a value that is sealed itself.
const keyCheck = "secret_key_check"

// ErrOtherKey says that the database's secrets are sealed with a key that the store does not have.
var ErrOtherKey = errors.New("SECRET_KEY is not the one that this database was used with: " +
	"credentials could not be opened, and tokens and links in mails would be void. " +
	"Start with the earlier SECRET_KEY (`waybill serve` keeps it in DATA_DIR/" + KeyFile + "), " +
	"or give that one in SECRET_KEY_PREVIOUS to change it. " +
	"If it is lost for good, run `waybill new-key` and enter the destinations' credentials again")

// KeyFile is where serve keeps the key that it made up, in its data directory.
const KeyFile = "secret_key"

// CheckKey returns ErrOtherKey when the store's keys are not those that the database's secrets are sealed with. Where
// nothing is sealed yet, any key is right.
func (s *Store) CheckKey(ctx context.Context) error {
	var check []byte
	has, err := s.Setting(ctx, keyCheck, &check)
	if err != nil {
		return err
	}
	if has {
		return s.opensCheck(check)
	}
	// A database from before there was a check value: what is sealed in it serves instead.
	rows, err := s.pool.Query(ctx, `select distinct substring(credentials for $1) from destinations
			where deleted_at is null and credentials is not null
		union select distinct substring(secrets for $1) from channels where deleted_at is null and secrets is not null`, seal.PrefixLength)
	if err != nil {
		return err
	}
	prefixes, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil || len(prefixes) == 0 {
		return err
	}
	for _, p := range prefixes {
		if s.Keys.Has(p) {
			return nil
		}
	}
	return ErrOtherKey
}

func (s *Store) opensCheck(check []byte) error {
	_, err := s.Keys.Open(check, keyCheck)
	if errors.Is(err, seal.ErrUnknownKey) {
		return ErrOtherKey
	}
	return err
}

// KeepKey is CheckKey for a server that starts: the key in force is what the next ones are held against.
func (s *Store) KeepKey(ctx context.Context) error {
	if err := s.CheckKey(ctx); err != nil {
		return err
	}
	var check []byte
	has, err := s.Setting(ctx, keyCheck, &check)
	if err != nil || has && s.Keys.Current(check) {
		return err
	}
	if has {
		return s.AdoptKey(ctx) // it was sealed with one of SECRET_KEY_PREVIOUS, which may be taken away one day
	}
	raw, err := json.Marshal(s.Keys.Seal([]byte(keyCheck), keyCheck))
	if err != nil {
		return err
	}
	if _, err := s.pool.Exec(ctx, "insert into settings (key, value) values ($1, $2) on conflict do nothing", keyCheck, raw); err != nil {
		return err
	}
	return s.CheckKey(ctx) // another process may have been first, with another key
}

// AdoptKey makes the store's key the one that servers are held against from now on.
func (s *Store) AdoptKey(ctx context.Context) error {
	return s.SetSetting(ctx, keyCheck, s.Keys.Seal([]byte(keyCheck), keyCheck))
}
