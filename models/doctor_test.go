package models

import (
	"strings"
	"testing"
	"time"
)

func TestDoctorJudges(t *testing.T) {
	t.Parallel()
	for skew, want := range map[time.Duration]string{0: LevelOK, -time.Second: LevelOK, 3 * time.Second: LevelWarn,
		-3 * time.Second: LevelWarn, time.Minute: LevelFail} {
		if got := judgeClock(skew); got.Level != want || (got.Advice == "") != (want == LevelOK) {
			t.Errorf("a clock %v ahead: %+v", skew, got)
		}
		if got := judgeClock(skew); skew == -3*time.Second && !strings.Contains(got.Message, "3s behind") || skew == time.Minute &&
			!strings.Contains(got.Message, "1m0s ahead of") {
			t.Errorf("a clock %v ahead: %s", skew, got.Message)
		}
	}
	for _, c := range []struct {
		most, used, workers int
		want                string
	}{{97, 30, 1, LevelOK}, {97, 88, 1, LevelFail}, {97, 30, 4, LevelWarn}, {20, 5, 0, LevelWarn}} {
		if got := judgeConnections(c.most, c.used, c.workers); got.Level != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
	for _, c := range []struct {
		dead, live, size int64
		want             bool
	}{{1000, 0, 40 << 20, false}, {300_000, 10, 40 << 20, true}, {300_000, 1_000_000, 4 << 30, false}, {0, 100, 3 << 30, true},
		{0, 1_000_000, 3 << 30, false}} {
		if got, why := judgeBloat(c.dead, c.live, c.size); got != c.want || got != (why != "") {
			t.Errorf("%+v: %v %s", c, got, why)
		}
	}
}
