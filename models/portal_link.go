package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// PortalLink is a link that opens the dashboard of one tenant. Its token is known to whoever got it only.
type PortalLink struct {
	ID        string // made of the token's hash, of which it tells a part
	Theme     string
	SingleUse bool // it is over once it was opened
	CreatedBy string
	CreatedAt time.Time
	ExpiresAt time.Time
}

// PortalLinkInput says what link somebody wants.
type PortalLinkInput struct {
	Theme     string
	SingleUse bool
	For       time.Duration // how long it can be opened
	Actor     string
}

// PortalLinkLength is how long a portal link can be opened unless somebody says otherwise, and maxPortalLink at most.
const (
	PortalLinkLength = 5 * time.Minute
	maxPortalLink    = 7 * 24 * time.Hour
)

// portalLength is how long a session lasts that a portal link started.
const portalLength = 24 * time.Hour

const (
	portalLinkPrefix = "plk_"
	portalLinkBytes  = 10 // of the hash, in an id
)

func portalLinkID(hash []byte) string {
	return portalLinkPrefix + hex.EncodeToString(hash[:portalLinkBytes])
}

// CreatePortalLink makes a link that opens the dashboard of one tenant, and its token.
func (s *Store) CreatePortalLink(ctx context.Context, scope Scope, tenantID string,
	in PortalLinkInput) (l *PortalLink, plain string, err error) {
	s = s.root()
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return nil, "", err
	}
	bad := problems{}
	if in.Theme != "" && in.Theme != "light" && in.Theme != "dark" {
		bad.add("theme", "must be light or dark")
	}
	if in.For < time.Minute || in.For > maxPortalLink {
		bad.add("expires_in", "must be between 1m and 168h")
	}
	if err := bad.err(); err != nil {
		return nil, "", err
	}
	plain, hash := token()
	l = &PortalLink{ID: portalLinkID(hash), Theme: in.Theme, SingleUse: in.SingleUse, CreatedBy: in.Actor}
	err = s.InTx(ctx, func(tx *Tx) error {
		err := tx.Pgx.QueryRow(ctx, `insert into portal_links (token_hash, tenant_key, theme, single_use, created_by, expires_at)
			values ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))
			returning created_at, expires_at`, hash, t.Key, in.Theme, in.SingleUse, in.Actor, in.For.Seconds()).Scan(&l.CreatedAt,
			&l.ExpiresAt)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: t.Scope(), Action: "portal_link.create", Object: l.ID,
			Detail: map[string]any{"expires_at": l.ExpiresAt, "single_use": l.SingleUse}})
	})
	return l, plain, err
}

// liveLink is the condition of links that can still be opened.
const liveLink = "l.expires_at > now() and (l.used_at is null or not l.single_use)"

// PortalLinks lists the links of a tenant that can still be opened, newest first.
func (s *Store) PortalLinks(ctx context.Context, scope Scope, tenantID string) ([]*PortalLink, error) {
	s = s.root()
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return nil, err
	}
	rows, err := s.pool.Query(ctx, `select token_hash, theme, single_use, created_by, created_at, expires_at from portal_links l
		where tenant_key = $1 and `+liveLink+" order by created_at desc limit 1000", t.Key)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (*PortalLink, error) {
		var hash []byte
		l := &PortalLink{}
		err := r.Scan(&hash, &l.Theme, &l.SingleUse, &l.CreatedBy, &l.CreatedAt, &l.ExpiresAt)
		if err == nil {
			l.ID = portalLinkID(hash)
		}
		return l, err
	})
}

// RevokePortalLink ends a link of a tenant. Sessions that it has started go on until they end.
func (s *Store) RevokePortalLink(ctx context.Context, scope Scope, tenantID, id string) error {
	s = s.root()
	t, err := s.Tenant(ctx, scope, tenantID)
	if err != nil {
		return err
	}
	unknown := notFound("There is no portal link %q that can still be opened.", cut(id, 80))
	hash, err := hex.DecodeString(strings.TrimPrefix(id, portalLinkPrefix))
	if err != nil || len(hash) != portalLinkBytes || !strings.HasPrefix(id, portalLinkPrefix) {
		return unknown
	}
	return s.InTx(ctx, func(tx *Tx) error {
		tag, err := tx.Pgx.Exec(ctx, "delete from portal_links l where tenant_key = $1 and substring(token_hash for $3) = $2 and "+liveLink,
			t.Key, hash, portalLinkBytes)
		if err == nil && tag.RowsAffected() == 0 {
			return unknown
		}
		if err != nil {
			return err
		}
		return tx.Audit(ctx, AuditEntry{Scope: t.Scope(), Action: "portal_link.revoke", Object: id})
	})
}

var errLinkOver = &Error{Kind: KindNotFound, Message: "This link was used already, or it is too old. Ask for a new one where you got it."}

// PortalLink says whose dashboard a portal link that can still be opened leads to, and how it is to look, without using it up.
func (s *Store) PortalLink(ctx context.Context, plain string) (tenant *Tenant, theme string, err error) {
	s = s.root()
	hash := sha256.Sum256([]byte(plain))
	var id string
	err = s.pool.QueryRow(ctx, `select t.id, l.theme from portal_links l join tenants t on t.key = l.tenant_key
		where l.token_hash = $1 and `+liveLink+" and t.deleted_at is null", hash[:]).Scan(&id, &theme)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, "", errLinkOver
	}
	if err != nil {
		return nil, "", err
	}
	tenant, err = s.Tenant(ctx, AllTenants(), id)
	return tenant, theme, err
}

// UsePortalLink starts a session for whoever holds a portal link that can still be opened.
func (s *Store) UsePortalLink(ctx context.Context, plain string) (session, tenantID, theme string, err error) {
	s = s.root()
	hash := sha256.Sum256([]byte(plain))
	session, sessionHash := token()
	err = s.InTx(ctx, func(tx *Tx) error {
		var key int64
		err := tx.Pgx.QueryRow(ctx, `update portal_links l set used_at = now() from tenants t
			where l.token_hash = $1 and `+liveLink+` and t.key = l.tenant_key and t.deleted_at is null
			returning l.tenant_key, l.theme, t.id`, hash[:]).Scan(&key, &theme, &tenantID)
		if errors.Is(err, pgx.ErrNoRows) {
			return errLinkOver
		}
		if err != nil {
			return err
		}
		_, err = tx.Pgx.Exec(ctx, "insert into sessions (token_hash, tenant_key, expires_at) values ($1, $2, $3)", sessionHash, key,
			time.Now().Add(portalLength))
		if err != nil {
			return err
		}
		actor := portalActor(key, tenantID)
		return tx.Audit(ctx, AuditEntry{Scope: actor.Scope, Actor: actor.Name, ActorKind: actor.Kind, Action: "session.portal",
			Object: tenantID})
	})
	return session, tenantID, theme, err
}
