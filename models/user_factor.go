package models

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"github.com/waybill-dev/waybill/models/seal"
)

// The second factor is a code of an app (TOTP, RFC 6238): six digits that change every 30 seconds, with a secret that the app and
// this server share.
const (
	codePeriod = 30 // seconds
	codeSkew   = 1  // periods before and after now whose codes are taken, for clocks that differ (RFC 6238, section 5.2)

	recoveryCodes  = 10
	recoveryLength = 16 // characters of 5 bits

	// StepLength is how long a login waits for its second step.
	StepLength = 5 * time.Minute
)

// FactorSetup is a second factor that a user is about to enable.
type FactorSetup struct {
	Secret string // in base 32, to be typed
	URL    string // otpauth://…, for a QR code
}

func factorContext(user uuid.UUID) string { return "totp " + user.String() }

// SetUpFactor returns the secret that a user's app shall have. It is the same until it is enabled; nothing is asked for before.
func (s *Store) SetUpFactor(ctx context.Context, u *User) (*FactorSetup, error) {
	s = s.root()
	if u.SecondFactor {
		return nil, conflict("The second factor is on already. Remove it first.")
	}
	secret, err := s.factorSecret(ctx, s.pool, u.Key, "")
	if err != nil {
		return nil, err
	}
	if secret == "" {
		key, err := generateFactor(u.Email, nil)
		if err != nil {
			return nil, err
		}
		secret = key.Secret()
		sealed := s.Keys.Seal([]byte(secret), factorContext(u.Key))
		if _, err := s.pool.Exec(ctx, "update users set totp_secret = $2 where id = $1 and totp_enabled_at is null", u.Key, sealed); err != nil {
			return nil, err
		}
	}
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil {
		return nil, err
	}
	key, err := generateFactor(u.Email, raw)
	if err != nil {
		return nil, err
	}
	return &FactorSetup{Secret: key.Secret(), URL: key.URL()}, nil
}

// generateFactor makes the key for an app, of a secret of 160 bits, which is a new one for nil (RFC 4226, section 4).
func generateFactor(email string, secret []byte) (*otp.Key, error) {
	return totp.Generate(totp.GenerateOpts{Issuer: "Waybill", AccountName: email, Secret: secret, SecretSize: 20})
}

// factorSecret is a user's secret; empty for none, and for one that SECRET_KEY does not open.
func (s *Store) factorSecret(ctx context.Context, db querier, user uuid.UUID, lock string) (string, error) {
	var sealed []byte
	err := db.QueryRow(ctx, "select totp_secret from users where id = $1"+lock, user).Scan(&sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", notFound("This user was removed.")
	}
	if err != nil || sealed == nil {
		return "", err
	}
	plain, err := s.Keys.Open(sealed, factorContext(user))
	if errors.Is(err, seal.ErrUnknownKey) {
		return "", nil // a new one is made; codes of the lost one are not right, and recovery codes go on
	}
	return string(plain), err
}

// errBadCode is the same for every code that is not taken.
var errBadCode = Invalid("code", "is not right, or was used already; wait for the next one")

// checkCode says whether a code is one of a secret's, and takes it: neither it nor an older one is right again.
func checkCode(ctx context.Context, tx *Tx, user uuid.UUID, secret, code string) (bool, error) {
	now := time.Now().Unix() / codePeriod
	opts := hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}
	for step := now - codeSkew; step <= now+codeSkew; step++ {
		right, err := hotp.ValidateCustom(code, uint64(step), secret, opts)
		if err != nil || !right {
			continue // an error is a code of another length
		}
		tag, err := tx.Exec(ctx, "update users set totp_step = $2 where id = $1 and totp_step < $2", user, step)
		return err == nil && tag.RowsAffected() == 1, err
	}
	return false, nil
}

// EnableFactor turns the second factor on, once a code has proved that the user's app has the secret, and returns the recovery codes,
// which are known to nobody afterwards. Logins that wait for nothing but their password so far go on.
func (s *Store) EnableFactor(ctx context.Context, u *User, code string) (codes []string, err error) {
	s = s.root()
	if u.SecondFactor {
		return nil, conflict("The second factor is on already.")
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		secret, err := s.factorSecret(ctx, tx, u.Key, " and totp_enabled_at is null for update")
		if err != nil {
			return err
		}
		right, err := checkCode(ctx, tx, u.Key, secret, trimCode(code))
		if err != nil {
			return err
		}
		if !right {
			return errBadCode
		}
		if _, err := tx.Exec(ctx, "update users set totp_enabled_at = now() where id = $1", u.Key); err != nil {
			return err
		}
		if codes, err = newRecoveryCodes(ctx, tx, u.Key); err != nil {
			return err
		}
		if err := s.tell(ctx, tx, u, u.Email, "user.factor_enable", LetterData{}); err != nil {
			return err
		}
		return tx.Audit(ctx, u.entry("user.factor_enable"))
	})
	return codes, err
}

// RecoveryCodes makes new recovery codes in place of those that a user has.
func (s *Store) RecoveryCodes(ctx context.Context, u *User) (codes []string, err error) {
	s = s.root()
	if !u.SecondFactor {
		return nil, conflict("The second factor is off, so there is nothing to recover.")
	}
	err = s.InTx(ctx, func(tx *Tx) error {
		if codes, err = newRecoveryCodes(ctx, tx, u.Key); err != nil {
			return err
		}
		return tx.Audit(ctx, u.entry("user.recovery_codes"))
	})
	return codes, err
}

func newRecoveryCodes(ctx context.Context, tx *Tx, user uuid.UUID) (codes []string, err error) {
	if _, err := tx.Exec(ctx, "delete from recovery_codes where user_id = $1", user); err != nil {
		return nil, err
	}
	for range recoveryCodes {
		code := rand.Text()[:recoveryLength]
		if _, err := tx.Exec(ctx, "insert into recovery_codes (user_id, hash) values ($1, $2)", user, recoveryHash(code)); err != nil {
			return nil, err
		}
		low := strings.ToLower(code)
		codes = append(codes, low[:4]+"-"+low[4:8]+"-"+low[8:12]+"-"+low[12:])
	}
	return codes, nil
}

func recoveryHash(code string) []byte {
	h := sha256.Sum256([]byte(code))
	return h[:]
}

// RecoveryCodesLeft is how many recovery codes of a user were not used.
func (s *Store) RecoveryCodesLeft(ctx context.Context, u *User) (n int, err error) {
	s = s.root()
	err = s.pool.QueryRow(ctx, "select count(*) from recovery_codes where user_id = $1 and used_at is null", u.Key).Scan(&n)
	return n, err
}

// RemoveFactor turns a user's second factor off. Only an owner does that to another owner.
func (s *Store) RemoveFactor(ctx context.Context, by *Actor, u *User) error {
	s = s.root()
	if u.Role == RoleOwner && by.Role != RoleOwner {
		return errOwnersOnly
	}
	return s.InTx(ctx, func(tx *Tx) error { return s.removeFactor(ctx, tx, u) })
}

func (s *Store) removeFactor(ctx context.Context, tx *Tx, u *User) error {
	if _, err := tx.Exec(ctx, "delete from recovery_codes where user_id = $1", u.Key); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, "update users set totp_secret = null, totp_enabled_at = null where id = $1 and totp_enabled_at is not null", u.Key)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	if err := s.tell(ctx, tx, u, u.Email, "user.factor_remove", LetterData{}); err != nil {
		return err
	}
	return tx.Audit(ctx, u.entry("user.factor_remove"))
}

// BeginStep keeps that a user's password was right, or that a provider knows them, and returns the token with which the login goes on.
func (s *Store) BeginStep(ctx context.Context, u *User, via ProviderSession) (string, error) {
	s = s.root()
	plain, hash := token()
	_, err := s.pool.Exec(ctx, `insert into login_steps (token_hash, user_id, expires_at, provider_issuer, provider_sid)
		values ($1, $2, $3, $4, $5)`, hash, u.Key, time.Now().Add(StepLength), via.Issuer, via.SID)
	return plain, err
}

// endStep ends a login's first step, for the second one is done, and returns how it was begun.
func endStep(ctx context.Context, tx *Tx, u *User, plain string) (via ProviderSession, err error) {
	hash := sha256.Sum256([]byte(plain))
	err = tx.Pgx.QueryRow(ctx, `delete from login_steps where token_hash = $1 and user_id = $2 and expires_at > now()
		returning provider_issuer, provider_sid`, hash[:], u.Key).Scan(&via.Issuer, &via.SID)
	if errors.Is(err, pgx.ErrNoRows) {
		err = &Error{Kind: KindUnauthorized, Message: "This login has waited too long. Log in again."}
	}
	return via, err
}

// StepUser is whose login waits for its second step; nil for none, or when it has waited too long.
func (s *Store) StepUser(ctx context.Context, plain string) (*User, error) {
	s = s.root()
	hash := sha256.Sum256([]byte(plain))
	u, err := oneUser(ctx, s.pool, "u.id = (select user_id from login_steps where token_hash = $1 and expires_at > now())", hash[:], "")
	if IsKind(err, KindNotFound) {
		return nil, nil
	}
	return u, err
}

// FinishStep ends a login with a code of the user's app or a recovery code, and starts a session, whose token it returns. A code is
// taken once.
func (s *Store) FinishStep(ctx context.Context, u *User, plain, code string) (session string, err error) {
	s = s.root()
	code = trimCode(code)
	err = s.InTx(ctx, func(tx *Tx) error {
		secret, err := s.factorSecret(ctx, tx, u.Key, " for update")
		if err != nil {
			return err
		}
		via, err := endStep(ctx, tx, u, plain)
		if err != nil {
			return err
		}
		right := false
		if len(code) == recoveryLength {
			var tag pgconn.CommandTag
			tag, err = tx.Exec(ctx, "update recovery_codes set used_at = now() where user_id = $1 and hash = $2 and used_at is null", u.Key,
				recoveryHash(code))
			right = err == nil && tag.RowsAffected() == 1
		} else if secret != "" {
			right, err = checkCode(ctx, tx, u.Key, secret, code)
		}
		if err != nil {
			return err
		}
		if !right {
			return errBadCode
		}
		session, err = beginSession(ctx, tx, u, via, nil)
		return err
	})
	return session, err
}

// trimCode takes out of a code what people add to it.
func trimCode(code string) string {
	return strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(strings.TrimSpace(code)))
}
