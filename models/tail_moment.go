package models

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// moment is what a reader knows: all that PostgreSQL showed to one of its snapshots. Ids of events tell when they were made,
// not when they were committed, and of two processes either may be first; a snapshot tells exactly what came after it.
// (PostgreSQL manual, "Transaction ID and Snapshot Information Functions")
type moment struct {
	at   time.Time // by the database's clock
	xmax int64     // transactions from this one on had not begun
	open []int64   // those before it that had not ended
}

// momentSelect reads the moment of a statement. It is scanned by readMoment.
const momentSelect = "select clock_timestamp(), pg_current_snapshot()::text"

func readMoment(row interface{ Scan(dest ...any) error }) (m moment, err error) {
	var snapshot string
	if err := row.Scan(&m.at, &snapshot); err != nil {
		return m, err
	}
	m.xmax, m.open, err = parseSnapshot(snapshot)
	return m, err
}

// parseSnapshot reads PostgreSQL's text of a snapshot: "xmin:xmax:open,open".
func parseSnapshot(s string) (xmax int64, open []int64, err error) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return 0, nil, fmt.Errorf("a snapshot of %d parts", len(parts))
	}
	if xmax, err = strconv.ParseInt(parts[1], 10, 64); err != nil || xmax < 0 {
		return 0, nil, fmt.Errorf("a snapshot with the transaction %q", parts[1])
	}
	for x := range strings.SplitSeq(parts[2], ",") {
		if x == "" {
			continue
		}
		id, err := strconv.ParseInt(x, 10, 64)
		if err != nil || id < 0 {
			return 0, nil, fmt.Errorf("a snapshot with the transaction %q", x)
		}
		open = append(open, id)
	}
	return xmax, open, nil
}

// cursor is the moment as readers get it, to go on from there.
func (m moment) cursor() string {
	open := make([]string, len(m.open))
	for i, x := range m.open {
		open[i] = strconv.FormatInt(x, 36)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(m.at.UnixMilli(), 36) + ":" + strconv.FormatInt(m.xmax, 36) + ":" +
		strings.Join(open, ",")))
}

// parseMoment reads a cursor.
func parseMoment(s string) (m moment, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	parts := strings.Split(string(b), ":")
	if err != nil || len(parts) != 3 {
		return m, false
	}
	ms, err := strconv.ParseInt(parts[0], 36, 64)
	if err != nil || ms < 0 || ms > maxMillis {
		return m, false
	}
	m.at = time.UnixMilli(ms)
	if m.xmax, err = strconv.ParseInt(parts[1], 36, 64); err != nil || m.xmax < 0 {
		return m, false
	}
	for x := range strings.SplitSeq(parts[2], ",") {
		if x == "" {
			continue
		}
		id, err := strconv.ParseInt(x, 36, 64)
		if err != nil || id < 0 {
			return m, false
		}
		m.open = append(m.open, id)
	}
	return m, true
}

// maxMillis is the last time that an id of an event can tell (48 bits).
const maxMillis = 1<<48 - 1

// wrap is how many transactions there are before PostgreSQL counts from the start again in what rows tell (32 bits).
const wrap = 1 << 32

// after is a condition for rows that were written after the moment. version is SQL for the row's xmin as a bigint, which tells
// the last 32 bits of its transaction: half of them are taken for older than the moment, half for newer.
func (m moment) after(q *query, version string) string {
	open := make([]int64, len(m.open))
	for i, x := range m.open {
		open[i] = x % wrap
	}
	return q.bind(fmt.Sprintf("((%s - ?::bigint + %d) %% %d >= %d or %s = any(?::bigint[]))", version, wrap+wrap/2, int64(wrap), wrap/2,
		version), m.xmax%wrap, open)
}

// ahead reports whether the moment cannot be of this database, or not of its present history: it was restored since.
func (m moment) ahead(now moment) bool {
	return m.xmax > now.xmax || m.at.After(now.at.Add(clockLeeway)) || slices.ContainsFunc(m.open, func(x int64) bool { return x > m.xmax })
}

// clockLeeway is by how much the clocks of two servers, such as a primary and the standby that took over, may differ.
const clockLeeway = time.Minute

// now reads the present moment.
func (s *Store) now(ctx context.Context) (moment, error) {
	return readMoment(s.pool.Pool.QueryRow(ctx, momentSelect)) // a standby's snapshots do not tell which transactions are open
}

// TailCursor is the cursor of now: what a list read after it does not show comes after it in the live tail.
func (s *Store) TailCursor(ctx context.Context) (string, error) {
	m, err := s.now(ctx)
	return m.cursor(), err
}
