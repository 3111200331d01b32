package adaptertest

import (
	"context"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/adapters"
)

// returnsBy fails the test when f takes much longer than limit.
func returnsBy(t *testing.T, limit time.Duration, f func()) {
	t.Helper()
	begun := time.Now()
	f()
	if took := time.Since(begun); took > limit+slack {
		t.Errorf("it returned after %v", took)
	}
}

func testDeadline(t *testing.T, h Harness) {
	side := h.Start(t)
	if side.Hanging == nil {
		return
	}
	snd := open(t, h, side, *side.Hanging)
	returnsBy(t, soon, func() {
		r, err := snd.Send(within(t, soon), message("evt-deadline"))
		checkOutcome(t, r, err)
		if e := adapters.AsError(err); err == nil || e.Kind != adapters.KindTransient || e.Class != adapters.ClassTimeout {
			t.Errorf("no answer came, and Send says %+v", err)
		}
	})
	if side.Received != nil && len(side.Received()) > 1 {
		t.Errorf("one call sent %d times", len(side.Received()))
	}
	// The limit of the settings holds as well.
	limited := *side.Hanging
	limited.Timeout = soon
	snd = open(t, h, side, limited)
	returnsBy(t, soon, func() {
		_, err := snd.Send(within(t, time.Minute), message("evt-limit"))
		if e := adapters.AsError(err); err == nil || e.Class != adapters.ClassTimeout {
			t.Errorf("no answer came within the destination's timeout, and Send says %+v", err)
		}
	})
}

func testCanceled(t *testing.T, h Harness) {
	side := h.Start(t)
	if side.Hanging == nil {
		return
	}
	snd := open(t, h, side, *side.Hanging)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	failed := make(chan error)
	go func() {
		_, err := snd.Send(ctx, message("evt-canceled"))
		failed <- err
	}()
	if side.Received != nil {
		Eventually(t, "the message to be under way", func() bool { return len(side.Received()) > 0 })
	}
	cancel()
	returnsBy(t, 0, func() {
		err := <-failed
		checkOutcome(t, adapters.Receipt{}, err)
		if e := adapters.AsError(err); err == nil || e.Kind != adapters.KindTransient {
			t.Errorf("Send was canceled, and says %+v", err)
		}
	})
}

func testCanceledBefore(t *testing.T, h Harness) {
	side := h.Start(t)
	snd := open(t, h, side, side.Good)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r, err := snd.Send(ctx, message("evt-never"))
	checkOutcome(t, r, err)
	if err == nil || r.Method != "" || r.Code != 0 {
		t.Errorf("the context had ended before, and Send says %+v, %v", r, err)
	}
	past, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	if r, err = snd.Send(past, message("evt-never")); err == nil {
		t.Errorf("the deadline had passed before, and Send says %+v", r)
	}
	mustSend(t, snd, message("evt-after"))
	if side.Received != nil {
		if got := arrived(t, side, "evt-"); len(got) != 1 || got[0].EventID != "evt-after" {
			t.Errorf("arrived: %+v", got)
		}
	}
}

// testLate lets an answer come after its deadline. It must not be taken for the answer to the next message.
func testLate(t *testing.T, h Harness) {
	side := h.Start(t)
	if side.Late == nil {
		return
	}
	snd := open(t, h, side, *side.Late)
	if _, err := snd.Send(within(t, soon), message("evt-late")); err == nil {
		t.Fatal("there was no answer, and the message counts as delivered")
	}
	side.Release()
	for range 3 {
		r := mustSend(t, snd, message("evt-next"))
		if side.AnswerTo != nil && side.AnswerTo(r) != "evt-next" {
			t.Errorf("the message got the answer to %s", side.AnswerTo(r))
		}
	}
}

var stageNames = map[string]int{"dns": 1, "connect": 2, "tls": 3, "auth": 4, "publish": 5}

func testCheck(t *testing.T, h Harness) {
	side := h.Start(t)
	for name, set := range side.settings() {
		c, ok := open(t, h, side, set).(adapters.Checker)
		if !ok {
			return
		}
		before := 0
		if side.Received != nil {
			before = len(side.Received())
		}
		stages := c.Check(within(t, 2*time.Second))
		if len(stages) == 0 {
			t.Errorf("%s: no stages", name)
		}
		last := 0
		for i, s := range stages {
			if n := stageNames[s.Name]; n <= last {
				t.Errorf("%s: stage %q is unknown or out of order", name, s.Name)
			} else {
				last = n
			}
			checkSentence(t, name+": stage "+s.Name, s.Message)
			if s.OK != (s.Advice == "") {
				t.Errorf("%s: stage %s succeeded with advice, or failed without: %+v", name, s.Name, s)
			}
			if !s.OK && i != len(stages)-1 {
				t.Errorf("%s: the check went on after stage %s had failed", name, s.Name)
			}
		}
		if ok := len(stages) > 0 && stages[len(stages)-1].OK; name == "good" && !ok || name == "unreachable" && ok {
			t.Errorf("%s: %+v", name, stages)
		}
		if side.Received != nil && len(side.Received()) != before {
			t.Errorf("%s: the check sent a message", name)
		}
	}
}

func testClose(t *testing.T, h Harness) {
	side := h.Start(t)
	snd, err := h.Type.Open(side.Env, side.Good)
	if err != nil {
		t.Fatal(err)
	}
	// A sender that never sent anything can be closed too.
	unused, err := h.Type.Open(side.Env, side.Good)
	if err != nil {
		t.Fatal(err)
	}
	if err := unused.Close(); err != nil {
		t.Errorf("closing an unused sender: %v", err)
	}
	for range 3 {
		mustSend(t, snd, message("evt-close"))
	}
	if err := snd.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if side.Open != nil {
		Eventually(t, "all connections to be closed", func() bool { return side.Open() == 0 })
	}
}
