package filter

import "unique"

// pack moves a program's parts next to each other, in the order in which they are evaluated. With thousands of
// filters, an evaluation waits for the memory that they are in more than for anything else; what lies in one
// stretch is fetched ahead of its use. Names of fields and short texts are shared among all filters for the same
// reason.
func (p *program) pack() {
	var k packer
	k.count(p.root)
	k.matchers = make([]matcher, 0, k.matcherCount)
	k.kids = make([]*matcher, 0, k.kidCount)
	k.keys = make([]string, 0, k.keyCount)
	k.tests = make([]test, 0, k.testCount)
	p.root = k.move(p.root)
	p.shared = k.texts
}

// packer holds the stretches. None grows, for what has been moved is pointed to.
type packer struct {
	matcherCount, kidCount, keyCount, testCount int

	matchers []matcher
	kids     []*matcher
	keys     []string
	tests    []test
	texts    []unique.Handle[string] // holding them keeps the shared copies
}

// shared returns the copy of a short text that all filters have in common.
func (k *packer) shared(text string) string {
	if text == "" || len(text) > 32 {
		return text
	}
	one := unique.Make(text)
	k.texts = append(k.texts, one)
	return one.Value()
}

func (k *packer) count(m *matcher) {
	k.matcherCount++
	k.kidCount += len(m.kids)
	k.keyCount += len(m.path)
	if m.test != nil {
		k.testCount++
	}
	for _, kid := range m.kids {
		k.count(kid)
	}
}

func (k *packer) move(from *matcher) *matcher {
	k.matchers = append(k.matchers, *from)
	m := &k.matchers[len(k.matchers)-1]
	if from.test != nil {
		k.tests = append(k.tests, *from.test)
		m.test = &k.tests[len(k.tests)-1]
		m.test.text = k.shared(m.test.text)
		if m.test.more != nil {
			for i, text := range m.test.more.texts {
				m.test.more.texts[i] = k.shared(text)
			}
		}
	}
	first := len(k.keys)
	for _, key := range from.path {
		k.keys = append(k.keys, k.shared(key))
	}
	m.path = k.keys[first:len(k.keys):len(k.keys)]
	first = len(k.kids)
	k.kids = k.kids[:first+len(from.kids)]
	m.kids = k.kids[first:len(k.kids):len(k.kids)]
	for i, kid := range from.kids {
		m.kids[i] = k.move(kid)
	}
	return m
}
