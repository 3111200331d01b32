package models

import (
	"slices"
	"strings"
)

// AllTopics is the subscription to every topic, also future ones.
const AllTopics = "*"

// Subscribes reports whether one of the subscriptions takes a topic. A subscription is a topic, a pattern in which each *
// stands for any text ("order.*" takes order.created and order.item.added), or AllTopics, which alone takes events
// without a topic.
func Subscribes(subscriptions []string, topic string) bool {
	return slices.ContainsFunc(subscriptions, func(s string) bool {
		return s == AllTopics || topic != "" && (s == topic || isPattern(s) && matchesPattern(s, topic))
	})
}

func isPattern(subscription string) bool { return strings.Contains(subscription, "*") }

func matchesPattern(pattern, topic string) bool {
	head, rest, _ := strings.Cut(pattern, "*")
	topic, ok := strings.CutPrefix(topic, head)
	for ok {
		var part string
		var more bool
		if part, rest, more = strings.Cut(rest, "*"); !more {
			return strings.HasSuffix(topic, part)
		}
		var i int
		if i = strings.Index(topic, part); i < 0 {
			return false
		}
		topic = topic[i+len(part):]
	}
	return false
}
