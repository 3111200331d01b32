package adapters

import (
	"errors"
	"time"
)

// Kind says what an error means for the delivery. An error that is not an *Error counts as KindTransient.
type Kind int

const (
	KindTransient Kind = iota // may work next time: network, 5xx, wrong credentials that somebody may mend
	KindPermanent             // this message will never be accepted: malformed, too large
	KindThrottled             // the other side asked to slow down; After says how long, 0 when it did not say
	KindGone                  // the destination does not exist any more and says so (410): disable it
	KindAbort                 // the receiver asked to end this delivery
	KindShortage              // this server lacked ports, files or memory: no attempt was made, and none counts; see AsShortage
)

// Class groups errors for the people who read them. The words are the same in the API, on pages and in metrics.
type Class string

// The classes of errors. Each has one meaning for every destination type.
const (
	ClassDNS       Class = "dns"       // the name could not be resolved
	ClassConnect   Class = "connect"   // nothing answered, or the connection was refused or reset
	ClassTLS       Class = "tls"       // certificate or handshake
	ClassTimeout   Class = "timeout"   // no complete answer within the deadline
	ClassRedirect  Class = "redirect"  // 3xx, which is not followed
	ClassAuth      Class = "auth"      // the receiver refused our credentials
	ClassNotFound  Class = "not_found" // unknown path, queue, topic or exchange
	ClassGone      Class = "gone"      // 410
	ClassTooLarge  Class = "too_large" // the message is over the receiver's limit
	ClassRejected  Class = "rejected"  // the receiver looked at the message and refuses it
	ClassThrottled Class = "throttled" // asked to slow down
	ClassServer    Class = "server"    // the receiver failed
	ClassBlocked   Class = "blocked"   // this server's own network rules forbid the address
	ClassConfig    Class = "config"    // the destination's settings cannot work
	ClassProtocol  Class = "protocol"  // the answer could not be understood
	ClassAborted   Class = "aborted"   // the receiver asked to end this delivery
	ClassInternal  Class = "internal"  // a defect or a shortage on our side
)

// Classes lists the classes in the order of an attempt.
var Classes = []Class{ClassDNS, ClassConnect, ClassTLS, ClassTimeout, ClassRedirect, ClassAuth, ClassNotFound, ClassGone, ClassTooLarge,
	ClassRejected, ClassThrottled,
	ClassServer, ClassBlocked, ClassConfig, ClassProtocol, ClassAborted, ClassInternal}

// Error is how a sender says that a message was not delivered.
type Error struct {
	Kind    Kind
	Class   Class
	Message string        // what happened, one sentence for the destination's owner; never a secret
	Advice  string        // what to do about it, one sentence; may be empty
	Raw     string        // the driver's own words, for whoever digs deeper; never a secret
	Private string        // what only this server's own log tells: facts about the network that it is in; may be empty
	After   time.Duration // with KindThrottled: the wait that was asked for
	Lack    string        // with KindShortage: ports, files or memory
	Log     []string      // how it came about, a step in each line, as in Receipt.Log; never a secret
}

func (e *Error) Error() string { return e.Message }

// ConfigError is what Type.Open returns for settings that cannot work. message says what is wrong with them.
func ConfigError(message string) *Error {
	return &Error{Kind: KindTransient, Class: ClassConfig, Message: message, Advice: "Correct the destination's settings."}
}

// AsError returns err as an *Error; anything else becomes a transient internal error whose text stays in Raw, or one that
// says that this server lacked something.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if e := AsShortage(err); e != nil {
		return e
	}
	return &Error{Kind: KindTransient, Class: ClassInternal, Message: "The attempt failed inside this server.",
		Advice: "It will be retried; ask the operator if it stays.", Raw: err.Error()}
}
