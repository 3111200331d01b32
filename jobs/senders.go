package jobs

import (
	"fmt"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/adapters"
	"github.com/waybill-dev/waybill/models"
)

// senders keeps one open sender per destination and version. A destination that has changed gets a new one with its
// next attempt, so that rotated credentials are in force at once; the old one is closed when its last attempt is over.
type senders struct {
	env adapters.Env
	mu  sync.Mutex
	m   map[int64]*openSender
}

type openSender struct {
	adapters.Sender
	version  int64
	users    int
	retired  bool // replaced by a newer version, or idle
	lastUsed time.Time
}

// close releases the connections. That they could not be closed in good order changes nothing.
func (o *openSender) close() { _ = o.Close() }

// get returns the sender of a destination's version, and a function to give it back.
func (s *senders) get(e *models.Target) (adapters.Sender, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.m[e.Key]
	if o == nil || o.version != e.Version {
		reg := e.Registration()
		if reg == nil {
			return nil, nil, fmt.Errorf("this build has no destination type %q", e.Type)
		}
		set := e.Settings()
		set.Timeout = e.Timeout
		sender, err := reg.Open(s.env, set)
		if err != nil {
			return nil, nil, err
		}
		// A job that has read the version before a change must not take the sender of the one after it from the others.
		old := o
		o = &openSender{Sender: sender, version: e.Version, retired: old != nil && old.version > e.Version}
		if !o.retired {
			if old != nil {
				s.retire(old)
			}
			if s.m == nil {
				s.m = map[int64]*openSender{}
			}
			s.m[e.Key] = o
		}
	}
	o.users++
	o.lastUsed = time.Now()
	return o.Sender, func() { s.release(o) }, nil
}

func (s *senders) release(o *openSender) {
	s.mu.Lock()
	o.users--
	closing := o.retired && o.users == 0
	s.mu.Unlock()
	if closing {
		o.close()
	}
}

// retire closes a sender as soon as nobody uses it. The lock is held.
func (s *senders) retire(o *openSender) {
	o.retired = true
	if o.users == 0 {
		go o.close()
	}
}

// sweep closes senders that have not been used since; the zero time's opposite, a time to come, closes all.
func (s *senders) sweep(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, o := range s.m {
		if o.users == 0 && o.lastUsed.Before(since) {
			delete(s.m, k)
			s.retire(o)
		}
	}
}
