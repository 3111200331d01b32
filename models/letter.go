package models

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/waybill-dev/waybill/models/seal"
)

// The states of a letter.
const (
	LetterWaiting = "waiting"
	LetterSent    = "sent"   // the mail server has taken it
	LetterFailed  = "failed" // given up
)

// LetterStatuses are the states of a letter.
var LetterStatuses = []string{LetterWaiting, LetterSent, LetterFailed}

// LetterOfInvitation is the kind of letters that invite somebody. Others are called like the action of the audit log that they tell of.
const LetterOfInvitation = "invitation"

// letterClaim is for how long nobody else tries a letter that somebody tries.
const letterClaim = time.Minute

// Letter is a mail to one person that no channel sends: an invitation, or what has changed about their account.
type Letter struct {
	Key        uuid.UUID
	Kind       string
	Email      string // whom it goes to
	Data       LetterData
	Invitation *Invitation // of LetterOfInvitation
	Token      string      // of the invitation's link
	Tries      int         // with the one under way
	CreatedAt  time.Time
}

// LetterData is what a letter about an account tells.
type LetterData struct {
	Actor   string `json:"actor,omitempty"`   // who did it
	IP      string `json:"ip,omitempty"`      // from where
	Passkey string `json:"passkey,omitempty"` // its name
	Email   string `json:"email,omitempty"`   // the new address
	Issuer  string `json:"issuer,omitempty"`  // of a login provider
}

// ID names the letter, in the mail's Message-ID too: tries of one letter are one mail to its reader.
func (l *Letter) ID() string { return "ltr_" + l.Key.String() }

func letterContext(id uuid.UUID) string { return "letter " + id.String() }

// LetterState is how the mail of an invitation is doing.
type LetterState struct {
	Status  string // one of LetterStatuses
	Tries   int
	Error   string     // of the last try; empty where it went well, or was none
	NextTry *time.Time // while it waits
	SentAt  *time.Time
}

// tell has a letter sent to an address about what has just happened to a user, in the transaction that does it.
func (s *Store) tell(ctx context.Context, tx *Tx, u *User, to, action string, data LetterData) error {
	by, _ := ctx.Value(askerKey{}).(Asker)
	data.Actor, data.IP = text(by.Actor), by.IP
	if by.Actor == u.Name && by.ActorKind == ActorUser {
		data.Actor = ""
	}
	id := uuid.Must(uuid.NewV7())
	if _, err := tx.Exec(ctx, "insert into letters (id, kind, email, data) values ($1, $2, $3, $4)", id, action, to, data); err != nil {
		return err
	}
	return s.Queue.EnqueueLetter(ctx, tx, id, 0)
}

// writeInvitation has the letter of an invitation sent, in place of earlier ones. The first try is for the caller to make; where it does
// not, a job does after letterClaim.
func (s *Store) writeInvitation(ctx context.Context, tx *Tx, i *Invitation, token string) (uuid.UUID, error) {
	if _, err := tx.Exec(ctx, "delete from letters where invitation_id = $1", i.Key); err != nil {
		return uuid.Nil, err
	}
	id := uuid.Must(uuid.NewV7())
	_, err := tx.Exec(ctx, "insert into letters (id, kind, invitation_id, email, data, token) values ($1, $2, $3, $4, '{}', $5)", id,
		LetterOfInvitation, i.Key, i.Email, s.Keys.Seal([]byte(token), letterContext(id)))
	if err != nil {
		return uuid.Nil, err
	}
	return id, s.Queue.EnqueueLetter(ctx, tx, id, letterClaim)
}

// ClaimLetter returns a letter that is to be sent now, which nobody else tries for letterClaim. It is nil when there is nothing to do, or
// not before wait is over.
func (s *Store) ClaimLetter(ctx context.Context, id uuid.UUID) (l *Letter, wait time.Duration, err error) {
	s = s.root()
	l = &Letter{Key: id}
	var invitation *uuid.UUID
	var sealed []byte
	err = s.pool.QueryRow(ctx, `update letters set tries = tries + 1, due_at = now() + $2::interval
		where id = $1 and status = 'waiting' and due_at <= now() returning kind, email, data, invitation_id, token, tries, created_at`, id,
		letterClaim).Scan(&l.Kind, &l.Email, &l.Data, &invitation, &sealed, &l.Tries, &l.CreatedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		err = s.pool.QueryRow(ctx, `select greatest(due_at - now(), interval '1 second') from letters
			where id = $1 and status = 'waiting'`, id).Scan(&wait)
		if errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
		return nil, wait, err
	}
	if err != nil || l.Kind != LetterOfInvitation {
		return l, 0, err
	}
	l.Invitation, err = s.openInvitationOf(ctx, *invitation)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, 0, s.LetterFailed(ctx, l, "The invitation was accepted, or is too old.", 0)
	}
	if err != nil {
		return nil, 0, err
	}
	plain, err := s.Keys.Open(sealed, letterContext(id))
	if errors.Is(err, seal.ErrUnknownKey) {
		return nil, 0, s.LetterFailed(ctx, l, "SECRET_KEY has changed, so the link cannot be read. Send it again, with a new one.", 0)
	}
	l.Token = string(plain)
	return l, 0, err
}

// LetterDone records that the mail server has taken a letter. What told of an account is forgotten.
func (s *Store) LetterDone(ctx context.Context, l *Letter) error {
	s = s.root()
	sql := "delete from letters where id = $1"
	if l.Kind == LetterOfInvitation {
		sql = "update letters set status = 'sent', sent_at = now(), token = null, error = '' where id = $1 and status = 'waiting'"
	}
	_, err := s.pool.Exec(ctx, sql, l.Key)
	return err
}

// LetterFailed records why a letter could not be sent, and that it is tried again after a while; 0 for never.
func (s *Store) LetterFailed(ctx context.Context, l *Letter, why string, again time.Duration) error {
	s = s.root()
	sql := "update letters set error = $2, due_at = now() + $3::interval where id = $1 and status = 'waiting'"
	args := []any{l.Key, text(cut(why, 500)), again}
	switch {
	case again > 0:
	case l.Kind == LetterOfInvitation:
		sql, args = "update letters set status = 'failed', error = $2, token = null where id = $1 and status = 'waiting'", args[:2]
	default:
		sql, args = "delete from letters where id = $1", args[:1]
	}
	_, err := s.pool.Exec(ctx, sql, args...)
	return err
}

// letterState is the state of an invitation's last letter, as columns; null for none.
const letterState = `l.status, coalesce(l.tries, 0), coalesce(l.error, ''), l.due_at, l.sent_at`

// letterJoin finds it.
const letterJoin = ` left join lateral (select l.status, l.tries, l.error, l.due_at, l.sent_at from letters l
	where l.invitation_id = i.id order by l.id desc limit 1) l on true`
