package queue

import (
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/models/pgcopy"
)

// Owner is the worker of a process that also accepts events. First attempts that it has room for are written as jobs that it has
// taken already, and begin as soon as they are committed: nobody has to find them. They are no less safe for that. Should the
// process die they are taken over like any that it has, and should it not learn that they were committed, it finds them itself.
type Owner struct {
	Worker string                 // its id
	Room   func(tenant int64) int // how many more jobs of a tenant it takes
	Take   func(jobs []Taken)     // what it is given: jobs that are committed
}

// Taken is a job that was written as its owner's.
type Taken struct {
	ID    int64
	Batch Batch
	At    time.Time // when it was written, by this process's clock
}

// Own makes a worker of this process the owner of the first attempts that the process accepts, until release is called.
func (q *Queue) Own(o *Owner) (release func()) {
	q.owner.Store(o)
	return func() { q.owner.CompareAndSwap(o, nil) }
}

// claim is which jobs of one COPY are written as their owner's, and under which ids.
type claim struct {
	*Owner
	ids   []int64 // of all jobs of the COPY
	is    []bool  // whether each is the owner's
	taken []Taken
}

// claim chooses those of the jobs that the owner takes: first attempts that are due at once and not put aside. It is nil for none.
func (q *Queue) claim(batches []Batch, aside []bool, now time.Time) *claim {
	o := q.owner.Load()
	if o == nil {
		return nil
	}
	var c *claim
	rooms := map[int64]int{}
	for i, b := range batches {
		if b.Later || b.At.After(now) || aside != nil && aside[i] {
			continue
		}
		room, known := rooms[b.Tenant]
		if !known {
			room = o.Room(b.Tenant)
		}
		rooms[b.Tenant] = room - 1
		if room <= 0 {
			continue
		}
		if c == nil {
			c = &claim{Owner: o, ids: make([]int64, len(batches)), is: make([]bool, len(batches))}
			for k := range c.ids {
				c.ids[k] = q.ids.next(now)
			}
		}
		c.is[i] = true
		c.taken = append(c.taken, Taken{c.ids[i], b, now})
	}
	return c
}

// claimColumns are those that claim.write fills.
const claimColumns = ", id, attempt, attempted_at, attempted_by"

// write writes the columns of one job that say whose it is. now is the database's.
func (c *claim) write(rows *pgcopy.Rows, i int, now time.Time) {
	rows.Int8(c.ids[i])
	if !c.is[i] {
		rows.Int2(0)
		rows.Null()
		rows.Null()
		return
	}
	rows.Int2(1)
	rows.Time(now)
	rows.Texts(c.Worker)
}

// ids makes ids of jobs that are known before they are written. They rise with time, as those that PostgreSQL gives do, and lie
// far above them: 52 bits of microseconds, and 11 bits that tell processes apart. Were two processes to have the same bits and the
// same microsecond, the database would refuse one of the jobs, and its transaction is tried again.
type ids struct {
	process int64
	last    atomic.Int64 // microseconds
}

const processBits = 11

func (i *ids) next(now time.Time) int64 {
	for {
		last := i.last.Load()
		next := max(last+1, now.UnixMicro())
		if i.last.CompareAndSwap(last, next) {
			return next<<processBits | i.process
		}
	}
}
