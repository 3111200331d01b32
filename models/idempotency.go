package models

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// How long requests with an Idempotency-Key are remembered.
const (
	// IdempotencyMemory is for how long the answer of a request is given again.
	IdempotencyMemory = 24 * time.Hour
	// claimTime is how long after its claim a request can still do something: longer than the API lets one work. Past
	// it a request without an effect was cut off, and another one may take its place.
	claimTime = 35 * time.Second
	// answerTime is how long after its claim a request may still be answered, which takes longer where the caller
	// waits for outcomes.
	answerTime = 100 * time.Second
)

// Claim is a request's hold on an Idempotency-Key.
type Claim struct {
	caller []byte
	key    string
	token  uuid.UUID

	// Published makes the answer to a published event, so that it is kept in the transaction that accepts the event. It
	// may be nil.
	Published func(PublishResult) (*KeptAnswer, error)
	kept      bool
}

// KeptAnswer is an answer that is given again for the same Idempotency-Key.
type KeptAnswer struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   []byte            `json:"body"`
}

// IdempotencyCaller stands for a caller among whose requests an Idempotency-Key is unique. For users of one tenant's
// tokens it is the tenant, since each token is good for a day only; for others their credential.
func (a *Actor) IdempotencyCaller(credential string) []byte {
	if a.Kind == ActorToken {
		credential = ""
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%s %v %s", a.Kind, a.Scope.keys(), credential))
	return h[:]
}

// ClaimKey takes an Idempotency-Key for a request, which its fingerprint stands for. It returns the answer instead when the
// request was answered before. Whoever gets a claim ends it with KeepAnswer or Release; a claim that was cut off ends by
// itself.
func (s *Store) ClaimKey(ctx context.Context, caller []byte, key string, fingerprint []byte) (*Claim, *KeptAnswer, error) {
	c := &Claim{caller: caller, key: key, token: uuid.New()}
	for {
		tag, err := s.pool.Exec(ctx,
			`insert into idempotency_keys as k (caller, key, fingerprint, token, expires_at) values ($1, $2, $3, $4,
				now() + make_interval(secs => $5))
			on conflict (caller, key) do update set fingerprint = excluded.fingerprint, token = excluded.token, claimed_at = now(),
				effect_at = null, answer = null, expires_at = excluded.expires_at
			where k.expires_at < now() or k.answer is null and k.effect_at is null and k.claimed_at < now() - make_interval(secs => $6)`,
			caller, key, fingerprint, c.token, IdempotencyMemory.Seconds(), claimTime.Seconds())
		if err != nil {
			return nil, nil, err
		}
		if tag.RowsAffected() == 1 {
			return c, nil, nil
		}
		var first, sealed []byte
		var effect bool
		var age float64
		err = s.pool.QueryRow(ctx,
			`select fingerprint, answer, effect_at is not null, extract(epoch from now() - claimed_at) from idempotency_keys where caller = $1 and key = $2`,
			caller, key).Scan(&first, &sealed, &effect, &age)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			continue // it was released meanwhile
		case err != nil:
			return nil, nil, err
		case !bytes.Equal(first, fingerprint):
			return nil, nil, &Error{Kind: KindInvalid,
				Message: "This Idempotency-Key was used for another request (method, address or body differ). Send a new key with a new request.",
				Fields:  map[string]string{"Idempotency-Key": "was used for another request"}}
		case sealed != nil:
			// As durable as what it answers: the insert has locked the row and committed, which waits for the standbys too.
			answer, err := s.openAnswer(c, sealed)
			return nil, answer, err
		case effect && age > answerTime.Seconds():
			return nil, nil, conflict("What this request asks for was done, but its process ended before the answer was kept. Look at the result, and send a new key with a new request.")
		}
		return nil, nil, &Error{Kind: KindConflict,
			Message: "The first request with this Idempotency-Key is still being answered. Try again in a moment.", RetryAfter: time.Second}
	}
}

// KeepAnswer ends a claim with the answer that is given again from now on.
func (s *Store) KeepAnswer(ctx context.Context, c *Claim, a *KeptAnswer) error {
	if c.kept && a.Status == 202 {
		return nil // in the transaction that accepted the event
	}
	sealed, err := s.sealAnswer(c, a)
	if err != nil {
		return err
	}
	_, err = s.pool.Exec(ctx, "update idempotency_keys set answer = $4 where caller = $1 and key = $2 and token = $3", c.caller, c.key,
		c.token, sealed)
	return err
}

// Release ends a claim whose request came to nothing, so that it can be sent again. When something was committed on its
// behalf all the same the claim stays: sending the request again must not do that twice.
func (s *Store) Release(ctx context.Context, c *Claim) error {
	_, err := s.pool.Exec(ctx,
		"delete from idempotency_keys where caller = $1 and key = $2 and token = $3 and effect_at is null and answer is null", c.caller,
		c.key, c.token)
	return err
}

func (c *Claim) sealContext() string {
	return "idempotency " + hex.EncodeToString(c.caller) + " " + c.key
}

func (s *Store) sealAnswer(c *Claim, a *KeptAnswer) ([]byte, error) {
	b, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	return s.Keys.Seal(b, c.sealContext()), nil
}

func (s *Store) openAnswer(c *Claim, sealed []byte) (*KeptAnswer, error) {
	b, err := s.Keys.Open(sealed, c.sealContext())
	if err != nil {
		return nil, fmt.Errorf("answer of an idempotency key: %w", err)
	}
	a := &KeptAnswer{}
	return a, json.Unmarshal(b, a)
}

type claimKey struct{}

// WithClaim makes transactions under the returned context say so in the claim's row when they commit.
func WithClaim(ctx context.Context, c *Claim) context.Context {
	return context.WithValue(ctx, claimKey{}, c)
}

// withoutClaim makes transactions under the returned context say nothing of the claim: they are in another database.
func withoutClaim(ctx context.Context) context.Context {
	return context.WithValue(ctx, claimKey{}, nil)
}

// markClaim notes in the transaction that something is done on behalf of the claim's request. It fails when the request has
// lost its claim: then another one does the same.
func markClaim(ctx context.Context, tx pgx.Tx) error {
	c, ok := ctx.Value(claimKey{}).(*Claim)
	if !ok {
		return nil
	}
	tag, err := tx.Exec(ctx, claimEffect, c.caller, c.key, c.token)
	if err == nil && tag.RowsAffected() == 0 {
		err = lostClaim()
	}
	return err
}

const claimEffect = "update idempotency_keys set effect_at = now() where caller = $1 and key = $2 and token = $3"

func lostClaim() error {
	return &Error{Kind: KindUnavailable,
		Message: "This request took so long that its Idempotency-Key was given to another one. Send it again.", RetryAfter: time.Second}
}

// markClaims notes what a group of events is accepted for, and refuses events whose request has lost its claim. The rows
// are taken in one order, so that two committers with parts of the same batches never wait for each other in a circle.
func markClaims(ctx context.Context, conn *pgx.Conn, group []*publishing) error {
	var claims []*Claim
	for _, p := range group {
		if c := p.in.Claim; c != nil && !slices.Contains(claims, c) {
			claims = append(claims, c)
		}
	}
	if len(claims) == 0 {
		return nil
	}
	slices.SortFunc(claims, func(a, b *Claim) int { return bytes.Compare(a.token[:], b.token[:]) })
	b := &pgx.Batch{}
	for _, c := range claims {
		b.Queue(claimEffect, c.caller, c.key, c.token)
	}
	br := conn.SendBatch(ctx, b)
	lost := map[*Claim]bool{}
	for _, c := range claims {
		tag, err := br.Exec()
		if err != nil {
			br.Close()
			return fmt.Errorf("note idempotency keys: %w", err)
		}
		lost[c] = tag.RowsAffected() == 0
	}
	for _, p := range group {
		if p.in.Claim != nil && lost[p.in.Claim] {
			p.err = lostClaim()
		}
	}
	return br.Close()
}

// keepPublished keeps the answers of single events in the transaction that accepts them.
func (s *Store) keepPublished(ctx context.Context, conn *pgx.Conn, fresh []*publishing) error {
	var b pgx.Batch
	for _, p := range fresh {
		c := p.in.Claim
		if c == nil || c.Published == nil {
			continue
		}
		a, err := c.Published(p.res)
		if err != nil {
			return err
		}
		sealed, err := s.sealAnswer(c, a)
		if err != nil {
			return err
		}
		b.Queue("update idempotency_keys set answer = $4 where caller = $1 and key = $2 and token = $3", c.caller, c.key, c.token, sealed)
		c.kept = true // read only after the event was accepted
	}
	if b.Len() == 0 {
		return nil
	}
	return conn.SendBatch(ctx, &b).Close()
}
