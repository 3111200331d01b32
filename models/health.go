package models

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models/units"
)

// Health is how a destination does, as far as its recorded attempts tell. It counts deliveries as well as attempts: an
// event that was tried ten times in vain is one failing delivery and ten failed attempts. Test events do not count, nor
// do attempts that say nothing of the destination (see counts).
type Health struct {
	Destination int64 // its key
	TenantKey   int64

	Failures    int        // deliveries that failed since the last success, whether or not they are tried again
	Attempts    int        // attempts that failed since the last success
	GivenUp     int        // deliveries that failed for good since the last success
	Since       *time.Time // when the first of those failures was; nil while there is none
	LastFailure *time.Time // nil for never, as the ones below
	LastSuccess *time.Time
	Code        int // of the last failure: the status of the answer, 0 when there was none
	ErrorClass  string
	Error       string
	Advice      string

	Lag   time.Duration // how long the slowest event of the last attempts waited for its first one
	LagAt *time.Time    // when that was found

	FilterFailures int // events on which its filter failed at run time, since ResetAt
	FilterError    string
	FilterFailedAt *time.Time

	ResetAt *time.Time // what happened before does not count: somebody enabled the destination then
	Probes  int        // attempts to find out whether it works again, since it was disabled by itself
	ProbeAt *time.Time // when the next of these is due; nil for none

	CertificateEnds *time.Time // until when the certificate is valid that it showed last; nil for none, or not known yet
	CertificateAt   *time.Time // when that attempt was started, or the address changed; what was seen before does not count

	// Peak is the greatest that Failures was while the last results were folded in, and GaveUp how many of these deliveries
	// failed for good. They are kept with each minute, and not here.
	Peak, GaveUp int

	before int // what Failures was before the last results were folded in
}

// result is one attempt as the health of its destination sees it.
type result struct {
	At       time.Time // when it was started
	Previous time.Time // when the delivery's attempt before was started; zero for the first
	OK       bool
	GivenUp  bool // failed for good
}

// counts reports whether an attempt says something of its destination. One that the receiver asked to end does not: it
// answered. Nor does a defect of ours.
func counts(a *Attempt) bool {
	return a.Trigger != TriggerTest && a.ErrorClass != string(adapters.ClassAborted) && a.ErrorClass != string(adapters.ClassInternal)
}

// Fold adds results to what is known. They may come in any order and later than others that were folded in before:
// workers record when they can. What counts is when the attempts were started.
func (h *Health) Fold(results []result) {
	slices.SortStableFunc(results, func(a, b result) int { return a.At.Compare(b.At) })
	h.Peak, h.GaveUp = h.Failures, 0
	for _, r := range results {
		if r.OK {
			h.succeeded(r)
		} else {
			h.failed(r)
		}
		h.Peak = max(h.Peak, h.Failures)
	}
}

func (h *Health) succeeded(r result) {
	if h.LastSuccess == nil || r.At.After(*h.LastSuccess) {
		at := r.At
		h.LastSuccess = &at
	}
	switch {
	case h.Since == nil || r.At.Before(*h.Since):
		// It was before the first failure.
	case r.At.Before(*h.LastFailure):
		// It comes late, and interrupts the failures. How many of them were after it is not known any more, so that only
		// the last one counts: rather too few than disabling a destination that works.
		at := *h.LastFailure
		h.Failures, h.Attempts, h.GivenUp, h.Since = 1, 1, min(h.GivenUp, 1), &at
	default:
		h.Failures, h.Attempts, h.GivenUp, h.Since = 0, 0, 0, nil
	}
}

func (h *Health) failed(r result) {
	if h.LastSuccess != nil && r.At.Before(*h.LastSuccess) || h.ResetAt != nil && r.At.Before(*h.ResetAt) {
		return
	}
	at := r.At
	if r.GivenUp {
		h.GaveUp++
	}
	if h.Since == nil || at.Before(*h.Since) {
		h.Since = &at
	}
	if h.LastFailure == nil || at.After(*h.LastFailure) {
		h.LastFailure = &at
	}
	h.Attempts++
	// A delivery whose attempt before was among these failures is counted already: an attempt is recorded, and so folded in,
	// before the next one of its delivery.
	if r.Previous.Before(*h.Since) {
		h.Failures++
	}
	if r.GivenUp {
		h.GivenUp++
	}
}

// reset forgets the failures, because the destination was enabled.
func (h *Health) reset(now time.Time) {
	*h = Health{Destination: h.Destination, TenantKey: h.TenantKey, LastFailure: h.LastFailure, LastSuccess: h.LastSuccess, Code: h.Code,
		ErrorClass: h.ErrorClass, Error: h.Error, Advice: h.Advice, Lag: h.Lag, LagAt: h.LagAt, ResetAt: &now,
		CertificateEnds: h.CertificateEnds, CertificateAt: h.CertificateAt}
}

// Lasted is for how long the destination has been failing: from the first to the last failure. An endpoint to which
// nothing was sent for an hour has not failed for an hour.
func (h *Health) Lasted() time.Duration {
	if h.Since == nil {
		return 0
	}
	return h.LastFailure.Sub(*h.Since)
}

// ShouldDisable reports whether a destination has failed so often, and for so long, that it is to be disabled. after is
// its limit of failing deliveries in a row; 0 means never.
func (h *Health) ShouldDisable(after int, least time.Duration) bool {
	return after > 0 && h.Failures >= after && h.Lasted() >= least
}

// Sentence says how many deliveries failed in a row: "12 deliveries in a row failed".
func (h *Health) Sentence() string {
	if h.Failures == 0 {
		return "The last delivery succeeded"
	}
	return countOf(h.Failures, "delivery", "deliveries in a row") + " failed"
}

func countOf(n int, one, many string) string { return units.Count(n, one, many) }

// The flags of a packed result.
const (
	packedOK      = 1
	packedGivenUp = 2
	packedResult  = 1 + 8 + 8
)

// packResults writes results in 17 bytes each: flags, start, start of the attempt before (microseconds since 1970).
// Of successes that follow each other the last one is enough.
func packResults(results []result) []byte {
	slices.SortStableFunc(results, func(a, b result) int { return a.At.Compare(b.At) })
	out := make([]byte, 0, len(results)*packedResult)
	for i, r := range results {
		if r.OK && i+1 < len(results) && results[i+1].OK {
			continue
		}
		var flags byte
		if r.OK {
			flags |= packedOK
		}
		if r.GivenUp {
			flags |= packedGivenUp
		}
		out = append(out, flags)
		out = binary.BigEndian.AppendUint64(out, uint64(r.At.UnixMicro()))
		var previous int64
		if !r.Previous.IsZero() {
			previous = r.Previous.UnixMicro()
		}
		out = binary.BigEndian.AppendUint64(out, uint64(previous))
	}
	return out
}

func unpackResults(b []byte) []result {
	out := make([]result, 0, len(b)/packedResult)
	for ; len(b) >= packedResult; b = b[packedResult:] {
		r := result{OK: b[0]&packedOK != 0, GivenUp: b[0]&packedGivenUp != 0,
			At: time.UnixMicro(int64(binary.BigEndian.Uint64(b[1:]))).UTC()}
		if p := int64(binary.BigEndian.Uint64(b[9:])); p != 0 {
			r.Previous = time.UnixMicro(p).UTC()
		}
		out = append(out, r)
	}
	return out
}
