package models

import "testing"

func TestSubscribes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		subscription, topic string
		want                bool
	}{
		{"*", "order.created", true}, {"*", "", true}, {"order.created", "order.created", true}, {"order.created", "order", false},
		{"order.*", "order.created", true}, {"order.*", "order.item.added", true}, {"order.*", "order.", true}, {"order.*", "order", false},
		{"order.*", "reorder.created", false}, {"*.created", "order.created", true}, {"*.created", "order.created.v2", false},
		{"order.*.v2", "order.created.v2", true}, {"order.*.v2", "order.v2", false}, {"o*r*d", "order.paid", true},
		{"o*r*d", "order.new", false},
		{"a*a", "a", false}, {"a*a", "aa", true}, {"a**b", "ab", true}, {"**", "x", true}, {"order.*", "", false},
	} {
		if got := Subscribes([]string{"other", c.subscription}, c.topic); got != c.want {
			t.Errorf("%q takes %q: %v, want %v", c.subscription, c.topic, got, c.want)
		}
	}
}
