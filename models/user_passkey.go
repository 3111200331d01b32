package models

import (
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const (
	passkeyPrefix = "psk_"
	// maxPasskeys is how many passkeys one user may have.
	maxPasskeys = 20
)

// Passkey is a key pair of a user's authenticator, of which this server has the public half (Web Authentication, Level 3). It shows who
// somebody is with what they have and what they know or are, so that it is both factors of a login.
type Passkey struct {
	Key        uuid.UUID
	Name       string
	CreatedAt  time.Time
	LastUsedAt *time.Time
	SuspectAt  *time.Time // when its counter went back, as with a copy of it; nil for never
	Elsewhere  bool       // it is for another host than BASE_URL names

	rpID string // the host that it is for
}

// ID is the passkey's public id.
func (k *Passkey) ID() string { return passkeyPrefix + hex.EncodeToString(k.Key[:]) }

// entry is the line of the audit log about what happens to a user's passkey.
func (k *Passkey) entry(u *User, action string) AuditEntry {
	e := u.entry(action)
	e.Detail["passkey"], e.Detail["passkey_name"] = k.ID(), k.Name
	return e
}

// PasskeysOff says why browsers take no passkeys for the server's address, in a sentence; empty where they do. They take a name with
// TLS, or localhost (Web Authentication, section 5.1.2; Secure Contexts, section 3.1).
func PasskeysOff(baseURL string) string {
	u, err := url.Parse(baseURL)
	if err != nil || u.Hostname() == "" {
		return "BASE_URL names no host."
	}
	host := strings.ToLower(u.Hostname())
	_, notIP := netip.ParseAddr(host)
	local := host == "localhost" || strings.HasSuffix(host, ".localhost")
	switch {
	case notIP == nil:
		return "BASE_URL is an IP address (" + host + "), and passkeys need a name: https://waybill.example.com, or http://localhost on this " +
			"machine."
	case u.Scheme != "https" && !local:
		return "BASE_URL is not https, which passkeys need for any name but localhost."
	}
	if _, err := relyingParty(baseURL); err != nil {
		return "BASE_URL names a host that passkeys cannot be for: " + host + "."
	}
	return ""
}

// relyingParty is this server as authenticators know it: by the host of its address, at its origin only.
func relyingParty(baseURL string) (*webauthn.WebAuthn, error) {
	u, err := url.Parse(baseURL)
	if err != nil {
		return nil, err
	}
	wait := webauthn.TimeoutConfig{Enforce: true, Timeout: challengeLength, TimeoutUVD: challengeLength}
	return webauthn.New(&webauthn.Config{RPID: strings.ToLower(u.Hostname()), RPDisplayName: "Waybill",
		RPOrigins:             []string{u.Scheme + "://" + strings.ToLower(u.Host)},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementRequired,
			RequireResidentKey: protocol.ResidentKeyRequired(), UserVerification: protocol.VerificationRequired},
		Timeouts: webauthn.TimeoutsConfig{Login: wait, Registration: wait}})
}

// passkeyHolder is a user as the library asks for one. The user handle is the user's key.
type passkeyHolder struct {
	*User
	list []webauthn.Credential
}

func (h passkeyHolder) WebAuthnID() []byte                         { return h.Key[:] }
func (h passkeyHolder) WebAuthnName() string                       { return h.Email }
func (h passkeyHolder) WebAuthnDisplayName() string                { return h.Name }
func (h passkeyHolder) WebAuthnCredentials() []webauthn.Credential { return h.list }

// holder reads the passkeys of a user that are for this server's address.
func (s *Store) holder(ctx context.Context, db querier, u *User, rpID string) (h passkeyHolder, err error) {
	rows, err := db.Query(ctx, "select credential from passkeys where user_id = $1 and rp_id = $2 order by id", u.Key, rpID)
	if err != nil {
		return h, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[webauthn.Credential])
	return passkeyHolder{u, list}, err
}

// Passkeys lists a user's passkeys, the oldest first.
func (s *Store) Passkeys(ctx context.Context, user uuid.UUID) ([]*Passkey, error) {
	s = s.root()
	rows, err := s.pool.Query(ctx, passkeySelect+" where user_id = $1 order by id", user)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, scanPasskey)
	for _, k := range list {
		k.Elsewhere = k.rpID != s.rpID()
	}
	return list, err
}

const (
	passkeyColumns = "id, rp_id, name, created_at, last_used_at, suspect_at"
	passkeySelect  = "select " + passkeyColumns + " from passkeys"
)

func scanPasskey(r pgx.CollectableRow) (*Passkey, error) {
	k := &Passkey{}
	return k, r.Scan(&k.Key, &k.rpID, &k.Name, &k.CreatedAt, &k.LastUsedAt, &k.SuspectAt)
}

// rpID is the host that this server's passkeys are for.
func (s *Store) rpID() string {
	u, err := url.Parse(s.Rules().BaseURL)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// HasPasskeys reports whether anybody has a passkey for this server's address: only then is there something to log in with.
func (s *Store) HasPasskeys(ctx context.Context) (has bool, err error) {
	s = s.root()
	err = s.pool.QueryRow(ctx, "select exists (select 1 from passkeys where rp_id = $1)", s.rpID()).Scan(&has)
	return has, err
}

// UsablePasskeys is how many passkeys of a user are for this server's address.
func (s *Store) UsablePasskeys(ctx context.Context, u *User) (n int, err error) {
	s = s.root()
	err = s.pool.QueryRow(ctx, "select count(*) from passkeys where user_id = $1 and rp_id = $2", u.Key, s.rpID()).Scan(&n)
	return n, err
}

// lockPasskey reads a passkey of a user by its public id, and keeps it as it is until the transaction ends.
func lockPasskey(ctx context.Context, tx *Tx, u *User, id string) (*Passkey, error) {
	key, _ := parsePrefixed(passkeyPrefix, id)
	rows, err := tx.Query(ctx, passkeySelect+" where id = $1 and user_id = $2 for update", key, u.Key)
	if err != nil {
		return nil, err
	}
	k, err := pgx.CollectExactlyOneRow(rows, scanPasskey)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notFound("There is no passkey %q of this user; it may have been removed.", cut(id, 80))
	}
	return k, err
}

func checkPasskeyName(name string) (string, error) {
	name = strings.TrimSpace(name)
	bad := problems{}
	checkName(name, bad)
	return name, bad.err()
}

// RenamePasskey gives a user's passkey another name.
func (s *Store) RenamePasskey(ctx context.Context, by *Actor, u *User, id, name string) (k *Passkey, err error) {
	s = s.root()
	if err := mayChange(by, u); err != nil {
		return nil, err
	}
	if name, err = checkPasskeyName(name); err != nil {
		return nil, err
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		if k, err = lockPasskey(ctx, tx, u, id); err != nil || k.Name == name {
			return err
		}
		if _, err := tx.Exec(ctx, "update passkeys set name = $2 where id = $1", k.Key, name); err != nil {
			return err
		}
		before, after := newSnapshot(), newSnapshot()
		before.set("name", k.Name)
		after.set("name", name)
		k.Name = name
		e := k.entry(u, "user.passkey_rename")
		e.Changes = before.changes(after)
		return tx.Audit(ctx, e)
	})
	return k, err
}

// mayChange refuses to change how an owner logs in, but to owners and to themselves.
func mayChange(by *Actor, u *User) error {
	if u.Role == RoleOwner && by.Role != RoleOwner && by.UserID != u.Key {
		return errOwnersOnly
	}
	return nil
}

// RemovePasskey takes a passkey from a user. ways are those that the server takes; a user does not take the last way from themselves.
func (s *Store) RemovePasskey(ctx context.Context, by *Actor, u *User, id string, ways LoginWays) error {
	s = s.root()
	if err := mayChange(by, u); err != nil {
		return err
	}
	return s.InTx(ctx, func(tx *Tx) error {
		k, err := lockPasskey(ctx, tx, u, id)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "delete from passkeys where id = $1", k.Key); err != nil {
			return err
		}
		if by.UserID == u.Key {
			if err := s.checkWays(ctx, tx, u, ways); err != nil {
				return err
			}
		}
		if err := s.tell(ctx, tx, u, u.Email, "user.passkey_remove", LetterData{Passkey: k.Name}); err != nil {
			return err
		}
		return tx.Audit(ctx, k.entry(u, "user.passkey_remove"))
	})
}

// RemovePasskeys takes all passkeys from a user, who has lost them.
func (s *Store) RemovePasskeys(ctx context.Context, by *Actor, u *User) error {
	s = s.root()
	if err := mayChange(by, u); err != nil {
		return err
	}
	return s.InTx(ctx, func(tx *Tx) error { return s.removePasskeys(ctx, tx, u) })
}

func (s *Store) removePasskeys(ctx context.Context, tx *Tx, u *User) error {
	rows, err := tx.Query(ctx, "delete from passkeys where user_id = $1 returning "+passkeyColumns, u.Key)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, scanPasskey)
	if err != nil {
		return err
	}
	for _, k := range list {
		if err := tx.Audit(ctx, k.entry(u, "user.passkey_remove")); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		return nil
	}
	return s.tell(ctx, tx, u, u.Email, "user.passkey_remove", LetterData{})
}
