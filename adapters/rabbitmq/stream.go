package rabbitmq

import (
	"net"
	"sync"
	"sync/atomic"
)

// gatherSize is how much is gathered before it is written.
const gatherSize = 64 << 10

// stream is the connection beneath AMQP's. While it is held it gathers what is written, so that messages that are
// published together leave in one system call; the AMQP client alone makes one for each. And it remembers why it broke,
// of which that client keeps only a text.
type stream struct {
	net.Conn
	mu    sync.Mutex
	held  bool
	buf   []byte
	cause atomic.Pointer[error]
}

func (s *stream) note(err error) {
	if err != nil {
		s.cause.CompareAndSwap(nil, &err)
	}
}

// err is why the connection broke, or nil.
func (s *stream) err() error {
	if p := s.cause.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.note(err)
	return n, err
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(s.buf, p...)
	if s.held && len(s.buf) < gatherSize {
		return len(p), nil
	}
	return len(p), s.flush()
}

// hold begins to gather.
func (s *stream) hold() {
	s.mu.Lock()
	s.held = true
	s.mu.Unlock()
}

// release writes what was gathered. When that fails the connection is closed, for what was written counts as written
// already.
func (s *stream) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = false
	if s.flush() != nil {
		s.Conn.Close()
	}
}

func (s *stream) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.Conn.Write(s.buf)
	s.note(err)
	if cap(s.buf) > 4*gatherSize {
		s.buf = nil
	}
	s.buf = s.buf[:0]
	return err
}
