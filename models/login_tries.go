package models

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// LoginFrom is where a try of a password or code comes from. What is tried is counted for each of these, so that neither one
// place may try many accounts, nor many places one.
type LoginFrom struct {
	Purpose string       // "" for logins, "setup-" for the code of the set-up, CodePurpose for codes of a second factor
	Network netip.Prefix // see clientip.Network
	Account string       // e-mail address; empty where there is none
	Browser string       // id of a browser from which this account has logged in before; empty for others
}

// CodePurpose is for codes of a second factor: the right password does not take back what was tried of them.
const CodePurpose = "code-"

// FreeTries is how many failed logins at an account are free before the next one has to wait.
const FreeTries = 10

// tryLimit is how tries of one kind are slowed down: some are free, then each doubles the wait for the next.
type tryLimit struct {
	shared      bool // with others, so that somebody's success takes back no more than their own try
	free        int
	first, most time.Duration // wait after the last free try, and the longest
	forget      time.Duration // in which one try is forgotten
}

// The limits. A browser that is known counts for itself only: it can be locked out by nobody else. Tries at one account from
// everywhere are slowed down the least, since anybody can make them.
var (
	browserTries = tryLimit{false, FreeTries, 30 * time.Second, 15 * time.Minute, 10 * time.Minute}
	hereTries    = tryLimit{false, FreeTries, 30 * time.Second, time.Hour, 10 * time.Minute} // at an account from a network
	networkTries = tryLimit{true, 30, 30 * time.Second, 15 * time.Minute, 2 * time.Minute}
	accountTries = tryLimit{true, 100, 5 * time.Second, time.Minute, 5 * time.Minute}
)

// Limits of the table of tries.
const (
	maxLoginTries   = 100_000        // rows that upkeep leaves
	loginTriesAlive = 24 * time.Hour // since the last try
)

// after is how long to wait after so many tries.
func (l tryLimit) after(tries int) time.Duration {
	if tries < l.free {
		return 0
	}
	wait := l.first
	for range tries - l.free {
		if wait *= 2; wait >= l.most {
			return l.most
		}
	}
	return wait
}

// limits are the keys that tries are counted under.
func (f LoginFrom) limits(s *Store) map[string]tryLimit {
	mac := hmac.New(sha256.New, s.Keys.Derive("login tries"))
	mac.Write([]byte(strings.ToLower(strings.TrimSpace(f.Account))))
	account := hex.EncodeToString(mac.Sum(nil)[:16])
	switch {
	case f.Browser != "":
		return map[string]tryLimit{f.Purpose + "browser:" + f.Browser + ":" + account: browserTries}
	case f.Account == "":
		return map[string]tryLimit{f.Purpose + "network:" + f.Network.String(): hereTries}
	}
	network := f.Purpose + "network:" + f.Network.String()
	return map[string]tryLimit{network: networkTries, f.Purpose + "account:" + account: accountTries,
		f.Purpose + "here:" + account + ":" + f.Network.String(): hereTries}
}

// LoginTry is a try that was let through.
type LoginTry struct {
	blocks map[string]time.Time // by key: until when it keeps the next ones out
	shared map[string]bool      // keys that count what others try, too
}

// BeginLogin counts a try, before the password or code is looked at. One that is refused is an *Error of KindLimited and is not
// counted, so that it makes nobody wait longer; again says that one before it was refused already for the same reason.
func (s *Store) BeginLogin(ctx context.Context, from LoginFrom) (try *LoginTry, again bool, err error) {
	s = s.root()
	limits := from.limits(s)
	keys := make([]string, 0, len(limits))
	for k := range limits {
		keys = append(keys, k)
	}
	slices.Sort(keys) // everybody locks in one order
	var refused error
	var blocking []string
	err = s.InTx(ctx, func(tx *Tx) error {
		try = &LoginTry{map[string]time.Time{}, map[string]bool{}}
		if _, err := tx.Pgx.Exec(ctx, "insert into login_tries (key) select unnest($1::text[]) on conflict do nothing", keys); err != nil {
			return err
		}
		rows, err := tx.Pgx.Query(ctx,
			"select key, tries, last_at, blocked_until, told, clock_timestamp() from login_tries where key = any($1) order by key for update", keys)
		if err != nil {
			return err
		}
		type row struct {
			Key         string
			Tries       int
			Last, Until time.Time
			Told        bool
			Now         time.Time
		}
		found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
		if err != nil {
			return err
		}
		var wait time.Duration
		again = true
		for _, r := range found {
			if w := r.Until.Sub(r.Now); w > 0 {
				wait, again = max(wait, w), again && r.Told
				blocking = append(blocking, r.Key)
			}
		}
		if wait > 0 {
			refused = tooManyTries(wait, found[0].Now)
			return refused // and no row is left of names that were made up
		}
		again = false
		for _, r := range found {
			l := limits[r.Key]
			tries := max(0, r.Tries-int(r.Now.Sub(r.Last)/l.forget)) + 1
			until := r.Now.Add(l.after(tries))
			try.blocks[r.Key], try.shared[r.Key] = until, l.shared
			if _, err := tx.Pgx.Exec(ctx,
				"update login_tries set tries = $2, last_at = $3, blocked_until = $4, told = false where key = $1", r.Key, tries, r.Now,
				until); err != nil {
				return err
			}
		}
		return nil
	})
	if refused != nil {
		if !again {
			if _, err := s.pool.Exec(ctx, "update login_tries set told = true where key = any($1)", blocking); err != nil {
				return nil, false, err
			}
		}
		return nil, again, refused
	}
	return try, false, err
}

// LoginSucceeded takes a try back that was none in vain. What was tried here before is forgotten; what others try at the
// account, or from this network, is not.
func (s *Store) LoginSucceeded(ctx context.Context, try *LoginTry) error {
	s = s.root()
	for key, until := range try.blocks {
		sql := "update login_tries set tries = greatest(tries - 1, 0), blocked_until = case when blocked_until = $2 then now() else blocked_until end where key = $1"
		if !try.shared[key] {
			sql = "delete from login_tries where key = $1 and $2::timestamptz is not null"
		}
		if _, err := s.pool.Exec(ctx, sql, key, until); err != nil {
			return err
		}
	}
	return nil
}

func tooManyTries(wait time.Duration, now time.Time) error {
	wait = wait.Truncate(time.Second) + time.Second
	return &Error{Kind: KindLimited, RetryAfter: wait,
		Message: fmt.Sprintf("Too many tries. Try again after %s UTC, in %s.", now.Add(wait).UTC().Format("15:04:05"), inWords(wait))}
}

// inWords is a wait as people say it: 30 seconds, 5 minutes.
func inWords(d time.Duration) string {
	n, unit := int(d.Seconds()), "second"
	if d > 100*time.Second {
		n, unit = int((d+time.Minute-1)/time.Minute), "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// forgetTries deletes what nobody has tried for long, and the least tried where there is still more than the table is for.
func (s *Store) forgetTries(ctx context.Context) error {
	if _, err := s.pool.Exec(ctx, "delete from login_tries where last_at < now() - $1::interval and blocked_until < now()",
		loginTriesAlive); err != nil {
		return err
	}
	_, err := s.pool.Exec(ctx,
		"delete from login_tries where key in (select key from login_tries order by tries desc, last_at desc offset $1)", maxLoginTries)
	return err
}
