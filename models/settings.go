package models

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	err := s.Pool.QueryRow(ctx, `insert into settings (key, value) values ('setup_code', to_jsonb($1::text))
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
	err := s.Pool.QueryRow(ctx, "select value from settings where key = $1", key).Scan(&raw)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, json.Unmarshal(raw, v)
}

// SetSetting keeps a fact.
func (s *Store) SetSetting(ctx context.Context, key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = s.Pool.Exec(ctx, "insert into settings (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value", key, raw)
	return err
}

// AuditEntry is one line of the audit trail: who did what to what.
type AuditEntry struct {
	Scope     Scope // the tenant it concerns; AllTenants for the whole server
	Actor     string
	Action    string // "destination.create", "delivery.retry" …
	Object    string // the id of what was acted upon
	Outcome   string // empty for ok, otherwise why not
	Detail    map[string]any
	IP        string
	RequestID string
}

// Audit adds a line to the audit trail.
func (s *Store) Audit(ctx context.Context, e AuditEntry) error { return e.write(ctx, s.Pool) }

// execer is a pool, a connection or a transaction.
type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

func (e AuditEntry) write(ctx context.Context, db execer) error {
	if e.Outcome == "" {
		e.Outcome = "ok"
	}
	var tenantKey *int64
	if e.Scope.key != 0 {
		tenantKey = &e.Scope.key
	}
	var detail []byte
	if e.Detail != nil {
		var err error
		if detail, err = json.Marshal(e.Detail); err != nil {
			return err
		}
	}
	_, err := db.Exec(ctx, `insert into audit (id, tenant_key, actor, action, object, outcome, detail, ip, request_id) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		uuid.Must(uuid.NewV7()), tenantKey, text(e.Actor), e.Action, text(cut(e.Object, 300)), text(cut(e.Outcome, 500)), detail, e.IP, e.RequestID)
	return err
}
