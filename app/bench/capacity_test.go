package bench

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestNeed holds the estimate against what bench measured where its figures are from, and asks that more takes more.
func TestNeed(t *testing.T) {
	t.Parallel()
	measured := mix{rate: 14_000, peak: 14_000, fanOut: 1, size: 1000, retention: time.Second, attempts: 1}
	if n := measured.need(); n.cores < 1.3 || n.cores > 1.5 || n.disk/14_000 < 1.9*1024 || n.disk/14_000 > 2.1*1024 {
		t.Errorf("of what was measured: %+v", n)
	}
	base := mix{rate: 100, peak: 300, fanOut: 2, size: 2048, retention: 24 * time.Hour, failing: 5, attempts: 3}
	for name, more := range map[string]func(*mix){
		"peak": func(m *mix) { m.peak *= 2 }, "fan-out": func(m *mix) { m.fanOut++ }, "size": func(m *mix) { m.size *= 2 },
		"failing": func(m *mix) { m.failing *= 2 }, "attempts": func(m *mix) { m.attempts++ },
	} {
		m := base
		more(&m)
		if before, after := base.need(), m.need(); after.cores <= before.cores || after.disk < before.disk || after.logAtPeak <= before.logAtPeak {
			t.Errorf("more %s: %+v, then %+v", name, before, after)
		}
	}
	for rate, last := 0.5, 1e9; rate < 50_000; rate *= 1.7 {
		if now := timeOf(rate); now > last {
			t.Errorf("an event takes longer at %v a second", rate)
		} else {
			last = now
		}
	}
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{"": "-rate is required", "-rate 10 -peak 5": "at least -rate", "-rate 10 -failing 101": "percentage",
		"-rate 10 -attempts 0": "1 or more", "-rate 10 -retention x": "not a duration", "-rate 10 more": `"more" is none`} {
		if err := Capacity(strings.Fields(args), &strings.Builder{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
	var out strings.Builder
	if err := Capacity(strings.Fields("-rate 500 -fan-out 2 -retention 14d"), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"500 events a second (1,500 at the peak)", "kept for 14 days", "processors", "TiB", "/s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

// TestCapacityDocs holds the table of docs/scaling.md against the command.
func TestCapacityDocs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| ([\d,]+) \(([\d,]+)\) \| (\d+) \| (\d+) KiB \| (\d+) d \| (\S+) \| (\S+ \S+) \| (\S+ \S+) \|$`)
	rows := row.FindAllStringSubmatch(string(text), -1)
	if len(rows) < 5 {
		t.Fatalf("the table has %d rows", len(rows))
	}
	for _, r := range rows {
		plain := strings.NewReplacer(",", "")
		kib, err := strconv.Atoi(r[4])
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"-rate", plain.Replace(r[1]), "-peak", plain.Replace(r[2]), "-fan-out", r[3], "-size", strconv.Itoa(kib << 10),
			"-retention", r[5] + "d"}
		var out strings.Builder
		if err := Capacity(args, &out); err != nil {
			t.Fatal(err)
		}
		for i, name := range []string{"processors", "disk", "disk writes"} {
			if !regexp.MustCompile(`(?m)^  ` + name + ` +` + regexp.QuoteMeta(r[6+i]) + ` `).MatchString(out.String()) {
				t.Errorf("%s: %s is not %s:\n%s", r[0], name, r[6+i], out.String())
			}
		}
	}
}
