package models

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// challengeLength is how long an authenticator may take to sign.
	challengeLength = 5 * time.Minute
	// maxChallenges is how many challenges of one network may wait that nobody has logged in for: anybody can ask for one.
	maxChallenges = 100
)

// What a challenge is for.
const (
	forAdding  = "add"
	forLogin   = "login"
	forCode    = "code"    // in place of a code, after the password
	forConfirm = "confirm" // a recent login
)

// ChallengeLength is how long a browser keeps the token of a challenge.
const ChallengeLength = challengeLength

// Challenge is what a browser is asked to have signed.
type Challenge struct {
	Token   string          // with which the answer comes back, once
	Options json.RawMessage // PublicKeyCredentialCreationOptionsJSON or …RequestOptionsJSON (Web Authentication, section 5.4 and 5.5)
}

var (
	errChallengeOver = &Error{Kind: KindInvalid,
		Message: "This passkey was asked for too long ago, in another browser, or was used already. Try again."}
	errUnknownPasskey = &Error{Kind: KindInvalid,
		Message: "This passkey is not known here; it may have been removed. Log in in another way, and remove it from your device."}
	errBadPasskey     = &Error{Kind: KindInvalid, Message: "What the passkey says could not be verified. Try again."}
	errSuspectPasskey = &Error{Kind: KindInvalid,
		Message: "This passkey may have been copied: its counter went back. Log in in another way, remove it, and add it again."}
	errNotYourPasskey = &Error{Kind: KindInvalid, Message: "This passkey is another user's. Use one of your own."}
)

// party is this server as authenticators know it, where they do.
func (s *Store) party() (*webauthn.WebAuthn, error) {
	if why := PasskeysOff(s.Rules().BaseURL); why != "" {
		return nil, conflict("This server takes no passkeys: %s", why)
	}
	return relyingParty(s.Rules().BaseURL)
}

func tooManyPasskeys(n int) error {
	return conflict("You have %d passkeys, and more are not possible. Remove one first.", n)
}

// BeginAddPasskey asks for a new passkey of a user, on an authenticator that has none of theirs.
func (s *Store) BeginAddPasskey(ctx context.Context, u *User) (*Challenge, error) {
	s = s.root()
	party, err := s.party()
	if err != nil {
		return nil, err
	}
	h, err := s.holder(ctx, s.pool, u, party.Config.RPID)
	if err != nil {
		return nil, err
	}
	if u.Passkeys >= maxPasskeys {
		return nil, tooManyPasskeys(u.Passkeys)
	}
	ask, data, err := party.BeginRegistration(h, webauthn.WithExclusions(webauthn.Credentials(h.list).CredentialDescriptors()))
	if err != nil {
		return nil, err
	}
	return s.keepChallenge(ctx, forAdding, u.Key, "", ask.Response, data)
}

// BeginPasskeyLogin asks whoever is there for a passkey that says who they are. network is where the request came from.
func (s *Store) BeginPasskeyLogin(ctx context.Context, network string) (*Challenge, error) {
	s = s.root()
	party, err := s.party()
	if err != nil {
		return nil, err
	}
	var n int
	if err := s.pool.QueryRow(ctx, "select count(*) from passkey_challenges where network = $1 and expires_at > now()",
		network).Scan(&n); err != nil {
		return nil, err
	}
	if n >= maxChallenges {
		return nil, &Error{Kind: KindLimited, Message: "Too many logins were begun from your network. Try again in some minutes.",
			RetryAfter: time.Minute}
	}
	ask, data, err := party.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, err
	}
	return s.keepChallenge(ctx, forLogin, uuid.Nil, network, ask.Response, data)
}

// BeginPasskeyCode asks for one of a user's passkeys in place of a code, and BeginPasskeyConfirm for a recent login.
func (s *Store) BeginPasskeyCode(ctx context.Context, u *User) (*Challenge, error) {
	s = s.root()
	return s.beginKnown(ctx, forCode, u)
}

// BeginPasskeyConfirm asks for one of a user's passkeys, for a recent login.
func (s *Store) BeginPasskeyConfirm(ctx context.Context, u *User) (*Challenge, error) {
	s = s.root()
	return s.beginKnown(ctx, forConfirm, u)
}

func (s *Store) beginKnown(ctx context.Context, purpose string, u *User) (*Challenge, error) {
	party, err := s.party()
	if err != nil {
		return nil, err
	}
	h, err := s.holder(ctx, s.pool, u, party.Config.RPID)
	if err != nil {
		return nil, err
	}
	if len(h.list) == 0 {
		return nil, conflict("You have no passkey for this server's address.")
	}
	ask, data, err := party.BeginLogin(h, webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, err
	}
	return s.keepChallenge(ctx, purpose, u.Key, "", ask.Response, data)
}

func (s *Store) keepChallenge(ctx context.Context, purpose string, user uuid.UUID, network string, ask any,
	data *webauthn.SessionData) (*Challenge, error) {
	options, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	plain, hash := token()
	_, err = s.pool.Exec(ctx, `insert into passkey_challenges (token_hash, purpose, user_id, network, session, expires_at)
		values ($1, $2, $3, $4, $5, now() + $6::interval)`, hash, purpose, idOrNil(user), network, data, challengeLength)
	return &Challenge{plain, options}, err
}

// takeChallenge ends a challenge, whatever becomes of its answer.
func (s *Store) takeChallenge(ctx context.Context, purpose, plain string, user uuid.UUID) (*webauthn.SessionData, error) {
	hash := sha256.Sum256([]byte(plain))
	data := &webauthn.SessionData{}
	err := s.pool.QueryRow(ctx, `delete from passkey_challenges where token_hash = $1 and purpose = $2 and user_id is not distinct from $3
		and expires_at > now() returning session`, hash[:], purpose, idOrNil(user)).Scan(data)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errChallengeOver
	}
	return data, err
}

// AddPasskey keeps a passkey that a user's authenticator has made for a challenge.
func (s *Store) AddPasskey(ctx context.Context, u *User, challenge, name string, answer []byte) (k *Passkey, err error) {
	s = s.root()
	if name, err = checkPasskeyName(name); err != nil {
		return nil, err
	}
	party, err := s.party()
	if err != nil {
		return nil, err
	}
	data, err := s.takeChallenge(ctx, forAdding, challenge, u.Key)
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return nil, unverified(err)
	}
	made, err := party.CreateCredential(passkeyHolder{User: u}, *data, parsed)
	if err != nil {
		return nil, unverified(err)
	}
	k = &Passkey{Key: uuid.Must(uuid.NewV7()), Name: name, CreatedAt: time.Now().UTC(), rpID: party.Config.RPID}
	return k, s.InTx(ctx, func(tx *Tx) error {
		var n int
		err := tx.Pgx.QueryRow(ctx, "select (select count(*) from passkeys where user_id = u.id) from users u where u.id = $1 for update",
			u.Key).Scan(&n)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return notFound("This user was removed.")
		case err != nil:
			return err
		case n >= maxPasskeys:
			return tooManyPasskeys(n)
		}
		_, err = tx.Exec(ctx, `insert into passkeys (id, user_id, rp_id, credential_id, credential, name, created_at)
			values ($1, $2, $3, $4, $5, $6, $7)`, k.Key, u.Key, k.rpID, made.ID, made, k.Name, k.CreatedAt)
		var pe *pgconn.PgError
		if errors.As(err, &pe) && pe.ConstraintName == "passkeys_credential_id_key" {
			return conflict("This passkey is registered already.")
		}
		if err != nil {
			return err
		}
		if err := s.tell(ctx, tx, u, u.Email, "user.passkey_add", LetterData{Passkey: k.Name}); err != nil {
			return err
		}
		return tx.Audit(ctx, k.entry(u, "user.passkey_add"))
	})
}

// unverified refuses an answer. What exactly was wrong is in the error's text, for the server's log: a wrong BASE_URL, for one.
func unverified(err error) error {
	var e *protocol.Error
	if errors.As(err, &e) {
		return fmt.Errorf("%w (%s: %s)", errBadPasskey, e.Details, e.DevInfo)
	}
	return fmt.Errorf("%w (%s)", errBadPasskey, err.Error())
}

// usePasskey verifies what an authenticator has signed for a challenge, and returns whose passkey it is. user is who it has to be; zero
// for anybody. refused is why it does not count, where that is to be kept: the transaction goes on then.
func (s *Store) usePasskey(ctx context.Context, tx *Tx, data *webauthn.SessionData, answer []byte,
	user uuid.UUID) (u *User, k *Passkey, refused, err error) {
	party, err := s.party()
	if err != nil {
		return nil, nil, nil, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return nil, nil, nil, unverified(err)
	}
	var owner uuid.UUID
	k = &Passkey{}
	err = tx.Pgx.QueryRow(ctx, `select id, name, suspect_at, user_id from passkeys
		where credential_id = $1 and rp_id = $2 for update`, parsed.RawID, party.Config.RPID).Scan(&k.Key, &k.Name, &k.SuspectAt, &owner)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil, nil, errUnknownPasskey
	case err != nil:
		return nil, nil, nil, err
	case user != uuid.Nil && owner != user:
		return nil, nil, nil, errNotYourPasskey
	}
	if u, err = oneUser(ctx, tx, "u.id = $1", owner, ""); err != nil {
		return nil, nil, nil, err
	}
	h, err := s.holder(ctx, tx, u, party.Config.RPID)
	if err != nil {
		return nil, nil, nil, err
	}
	var used *webauthn.Credential
	if user == uuid.Nil {
		used, err = party.ValidateDiscoverableLogin(func(_, _ []byte) (webauthn.User, error) { return h, nil }, *data, parsed)
	} else {
		used, err = party.ValidateLogin(h, *data, parsed)
	}
	if err != nil {
		return nil, nil, nil, unverified(err)
	}
	if used.Authenticator.CloneWarning || k.SuspectAt != nil {
		_, err := tx.Exec(ctx, "update passkeys set suspect_at = coalesce(suspect_at, now()) where id = $1", k.Key)
		return u, k, errSuspectPasskey, err
	}
	_, err = tx.Exec(ctx, "update passkeys set credential = $2, last_used_at = now() where id = $1", k.Key, used)
	return u, k, nil, err
}

// by is what the audit log says of a login by a passkey.
func (k *Passkey) by() map[string]any {
	return map[string]any{"passkey": k.ID(), "passkey_name": k.Name}
}

// byPasskey ends a challenge with the answer to it, and has then make the session that it is good for, in one transaction. user is who
// it has to be; zero for anybody.
func (s *Store) byPasskey(ctx context.Context, purpose, challenge string, answer []byte, user uuid.UUID,
	then func(tx *Tx, u *User, by map[string]any) (session string, err error)) (u *User, session string, err error) {
	data, err := s.takeChallenge(ctx, purpose, challenge, user)
	if err != nil {
		return nil, "", err
	}
	var refused error
	err = s.InTx(ctx, func(tx *Tx) error {
		var k *Passkey
		if u, k, refused, err = s.usePasskey(ctx, tx, data, answer, user); err != nil || refused != nil {
			return err
		}
		session, err = then(tx, u, k.by())
		return err
	})
	if err == nil {
		err = refused
	}
	return u, session, err
}

// PasskeyLogin ends a login by a passkey alone, and starts a session, whose token it returns.
func (s *Store) PasskeyLogin(ctx context.Context, challenge string, answer []byte) (u *User, session string, err error) {
	s = s.root()
	return s.byPasskey(ctx, forLogin, challenge, answer, uuid.Nil, func(tx *Tx, u *User, by map[string]any) (string, error) {
		return beginSession(ctx, tx, u, ProviderSession{}, by)
	})
}

// FinishStepByPasskey ends a login whose password was right with a passkey in place of a code. plain is the token of BeginStep.
func (s *Store) FinishStepByPasskey(ctx context.Context, u *User, plain, challenge string, answer []byte) (session string, err error) {
	s = s.root()
	_, session, err = s.byPasskey(ctx, forCode, challenge, answer, u.Key, func(tx *Tx, _ *User, by map[string]any) (string, error) {
		via, err := endStep(ctx, tx, u, plain)
		if err != nil {
			return "", err
		}
		return beginSession(ctx, tx, u, via, by)
	})
	return session, err
}

// ConfirmByPasskey is ConfirmSession for who has shown who they are by a passkey.
func (s *Store) ConfirmByPasskey(ctx context.Context, a *Actor, challenge string, answer []byte) (session string, err error) {
	s = s.root()
	_, session, err = s.byPasskey(ctx, forConfirm, challenge, answer, a.UserID, func(tx *Tx, _ *User, by map[string]any) (string, error) {
		return confirmSession(ctx, tx, a, ProviderSession{}, by)
	})
	return session, err
}
