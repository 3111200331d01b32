// Package models is Waybill's domain: its records, its rules and its SQL. GORM loads and saves whole rows of the resources
// that are patched (tenants, destinations, channels, alert rules); everything else is SQL through pgx.
package models

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Kind says what went wrong, in the terms of whoever called.
type Kind int

// The kinds of errors, each with one HTTP status.
const (
	KindInternal     Kind = iota // 500: a defect or an unknown error; the caller sees one fixed sentence
	KindMalformed                // 400: the request cannot be read
	KindUnauthorized             // 401: who are you?
	KindForbidden                // 403: known, but not allowed
	KindNotFound                 // 404: also for what belongs to somebody else
	KindUnreadable               // 406: the caller's client could not read the answer
	KindConflict                 // 409: the state does not permit it
	KindStale                    // 412: changed since it was read
	KindTooLarge                 // 413
	KindInvalid                  // 422: readable, but not acceptable
	KindLimited                  // 429
	KindUnavailable              // 503: try again later
	KindPast                     // 410: was there once
	KindTimeout                  // 408: the request did not arrive in time
	KindMisdirected              // 421: for a host that is not this server
	KindMethod                   // 405: the address answers to other methods
)

var statuses = map[Kind]int{
	KindInternal: http.StatusInternalServerError, KindMalformed: http.StatusBadRequest, KindUnauthorized: http.StatusUnauthorized,
	KindForbidden: http.StatusForbidden, KindNotFound: http.StatusNotFound, KindUnreadable: http.StatusNotAcceptable,
	KindConflict: http.StatusConflict,
	KindStale:    http.StatusPreconditionFailed, KindTooLarge: http.StatusRequestEntityTooLarge,
	KindInvalid: http.StatusUnprocessableEntity, KindLimited: http.StatusTooManyRequests, KindUnavailable: http.StatusServiceUnavailable,
	KindPast: http.StatusGone, KindTimeout: http.StatusRequestTimeout, KindMethod: http.StatusMethodNotAllowed,
	KindMisdirected: http.StatusMisdirectedRequest,
}

var codes = map[Kind]string{
	KindInternal: "internal", KindMalformed: "malformed", KindUnauthorized: "unauthorized", KindForbidden: "forbidden",
	KindNotFound: "not_found", KindUnreadable: "not_acceptable", KindConflict: "conflict", KindStale: "stale", KindTooLarge: "too_large",
	KindInvalid: "invalid", KindLimited: "limited", KindUnavailable: "unavailable", KindPast: "past",
	KindMethod: "method_not_allowed", KindTimeout: "timeout", KindMisdirected: "misdirected",
}

// Error is an error with two halves: Kind, Message, Fields and Position are for the caller; Err is for the log.
type Error struct {
	Kind       Kind
	Message    string            // one sentence that says what to do
	Fields     map[string]string // by field: "config.url" -> "is required"; nil when no single field is to blame
	Position   *Position         // where in a text the problem is; nil when unknown
	RetryAfter time.Duration     // with KindLimited and KindUnavailable
	Err        error             // what happened underneath; never shown
}

// Position is a place in a text that somebody wrote: a line and column, both from 1, or a JSON path.
type Position struct {
	Line   int    `json:"line,omitempty" doc:"From 1."`
	Column int    `json:"column,omitempty" doc:"From 1."`
	Path   string `json:"path,omitempty" doc:"A JSON path."`
}

func (e *Error) Error() string {
	s := e.Message
	if len(e.Fields) > 0 {
		s += ": " + strings.Join(e.Problems(), "; ")
	}
	if e.Err != nil {
		s += " (" + e.Err.Error() + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Status is the HTTP status of the error.
func (e *Error) Status() int { return statuses[e.Kind] }

// Code is the error's kind as a word for programs.
func (e *Error) Code() string { return codes[e.Kind] }

// Codes lists the words that Code may give.
func Codes() []string {
	out := make([]string, 0, len(codes))
	for k := KindInternal; k <= KindMethod; k++ {
		out = append(out, codes[k])
	}
	return out
}

// Problems lists the fields' messages as sentences, in a stable order: "config.url is required".
func (e *Error) Problems() []string {
	out := make([]string, 0, len(e.Fields))
	for k, m := range e.Fields {
		out = append(out, k+" "+m)
	}
	sort.Strings(out)
	return out
}

// AsError returns err as an *Error. An unknown one becomes KindUnavailable when the database did not answer or could not
// do its work, and else KindInternal, with one fixed sentence each.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if IsMoving(err) {
		return &Error{Kind: KindUnavailable, Message: "The tenant goes to another database at this moment. Try again.", RetryAfter: time.Second}
	}
	if databaseFault(err) {
		return &Error{Kind: KindUnavailable, Message: "The database does not answer, or has no room. Try again.", RetryAfter: time.Second,
			Err: err}
	}
	return &Error{Kind: KindInternal, Message: "Something went wrong on our side. The operator finds it in the log under this request id.",
		Err: err}
}

// IsUnavailable reports whether an error says that the database is away, stops or has no room: what could not be done may
// be tried again.
func IsUnavailable(err error) bool { return AsError(err).Kind == KindUnavailable }

// databaseFault reports whether an error says that PostgreSQL was not there, did not answer in time or could not go on,
// whatever it was asked for. The classes are those of appendix A of its manual.
func databaseFault(err error) bool {
	var unconnected *pgconn.ConnectError
	if errors.As(err, &unconnected) {
		return true
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		switch {
		case strings.HasPrefix(pe.Code, "08"), // the connection
			strings.HasPrefix(pe.Code, "53"),  // room on the disk, memory, connections
			strings.HasPrefix(pe.Code, "57P"), // it stops, starts or crashed
			strings.HasPrefix(pe.Code, "58"),  // the system underneath
			pe.Code == "25006":                // it became a standby
			return true
		}
		return false
	}
	var ne net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &ne) || pgconn.SafeToRetry(err)
}

// IsKind reports whether err is an *Error of kind k.
func IsKind(err error, k Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == k
}

func malformed(format string, args ...any) *Error {
	return &Error{Kind: KindMalformed, Message: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) *Error {
	return &Error{Kind: KindNotFound, Message: fmt.Sprintf(format, args...)}
}

func conflict(format string, args ...any) *Error {
	return &Error{Kind: KindConflict, Message: fmt.Sprintf(format, args...)}
}

// problems collects what is wrong with a request, field by field.
type problems map[string]string

// add notes the first problem of a field.
func (p problems) add(field, message string) {
	if _, has := p[field]; !has {
		p[field] = message
	}
}

// err returns the collected problems as one KindInvalid error, or nil.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &Error{Kind: KindInvalid, Message: "validation error", Fields: p}
}

// Invalid is a KindInvalid error about one field.
func Invalid(field, message string) *Error {
	return &Error{Kind: KindInvalid, Message: "validation error", Fields: map[string]string{field: message}}
}
