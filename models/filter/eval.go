package filter

import (
	"slices"
	"strings"
)

// maxWork bounds the evaluation of one filter against one event, in units of about ten nanoseconds. A
// payload of 256 KiB made of nothing but one list of short numbers can be looked through seven times.
const maxWork = 1_000_000

// machine is the state of one evaluation. It belongs to the document, so that evaluating allocates nothing.
type machine struct {
	meter
	rule  int    // the rule that decided against the event, last
	loops []loop // the elements of lists that are being matched, from the outside in
}

// loop is one list being gone through.
type loop struct {
	depth int // the number of keys above the list, root included
	index int
}

// match evaluates the program.
func (p *program) match(d *Doc) Result {
	m := &d.run
	m.meter = meter{left: maxWork}
	m.rule, m.loops = 0, m.loops[:0]
	matched := d.top(p.root)
	if m.failed != nil {
		return Result{Rule: m.rule, Failed: m.failed}
	}
	if matched {
		return Result{Match: true}
	}
	return Result{Rule: m.rule}
}

// top evaluates the groups and fields at the top. Whenever it returns false, the number of the deciding rule
// is in run.rule; after a failure that is the rule that failed.
func (d *Doc) top(m *matcher) bool {
	if d.run.failed != nil {
		return false
	}
	verdict := true
	switch m.what {
	case matchAnd:
		for _, kid := range m.kids {
			if !d.top(kid) {
				return false
			}
		}
		return true
	case matchOr:
		verdict = false
		for i := 0; i < len(m.kids) && !verdict; i++ {
			verdict = d.top(m.kids[i])
		}
	case matchNot:
		verdict = !d.top(m.kids[0])
	case matchField:
		value := d.root(int(m.root))
		if value == broken {
			d.run.failed = errNoJSON
		} else {
			verdict = d.walk(m, 0, value)
		}
		if d.run.failed != nil {
			d.run.rule = int(m.rule)
			return false
		}
	}
	if !verdict && d.run.failed == nil {
		d.run.rule = int(m.rule)
	}
	return verdict
}

// walk follows the path of a field from its i-th key on. Where it meets a list, one element has to satisfy
// the rest.
func (d *Doc) walk(m *matcher, i int, value at) bool {
	if !d.run.charge(1) {
		return false
	}
	if i == len(m.path) || value < 0 {
		return d.level(m.kids[0], value)
	}
	it := &d.tape.items[value]
	switch it.kind {
	case kindObject:
		if !d.run.charge(int(it.bits) / 8) {
			return false
		}
		return d.walk(m, i+1, d.tape.get(value, m.path[i]))
	case kindList:
		return d.walkList(m, i, value, int(m.depth)+i)
	}
	return d.level(m.kids[0], missing)
}

// inner is the depth that is noted for a list within a list: no path leads to it.
const inner = 0

func (d *Doc) walkList(m *matcher, i int, list at, depth int) bool {
	end := d.tape.items[list].end
	d.run.loops = append(d.run.loops, loop{depth: depth})
	found := false
	for e := list + 1; e < end && !found && d.run.failed == nil; e = d.tape.items[e].end {
		if d.tape.items[e].kind == kindList && d.run.charge(1) {
			found = d.walkList(m, i, e, inner)
		} else {
			found = d.walk(m, i, e)
		}
		d.run.loops[len(d.run.loops)-1].index++
	}
	d.run.loops = d.run.loops[:len(d.run.loops)-1]
	return found
}

// level matches a pattern with the value of a field. In a list one element has to satisfy all of it, except
// for what speaks of the whole list.
func (d *Doc) level(m *matcher, value at) bool {
	if value < 0 || d.tape.items[value].kind != kindList {
		return d.body(m, value, value)
	}
	// A list without elements still satisfies what speaks of the list itself, so that it is tried as well.
	return d.each(m, value, value, int(m.depth)) || d.body(m, nothing, value)
}

// each looks for an element that satisfies the pattern, also in lists within the list.
func (d *Doc) each(m *matcher, list, whole at, depth int) bool {
	end := d.tape.items[list].end
	d.run.loops = append(d.run.loops, loop{depth: depth})
	found := false
	for e := list + 1; e < end && !found && d.run.charge(1); e = d.tape.items[e].end {
		if d.tape.items[e].kind == kindList {
			found = d.each(m, e, whole, inner)
		} else {
			found = d.body(m, e, whole)
		}
		d.run.loops[len(d.run.loops)-1].index++
	}
	d.run.loops = d.run.loops[:len(d.run.loops)-1]
	return found
}

// body matches a pattern with one element of a list, or with a value that is no list. whole is the list, or
// the same value again.
func (d *Doc) body(m *matcher, element, whole at) bool {
	switch m.what {
	case matchAnd:
		for _, kid := range m.kids {
			if !d.body(kid, element, whole) {
				return false
			}
		}
		return true
	case matchOr:
		for _, kid := range m.kids {
			if d.body(kid, element, whole) {
				return true
			}
		}
		return false
	case matchNot:
		return !d.level(m.kids[0], whole)
	case matchField:
		return element != nothing && d.walk(m, 0, element)
	case matchList:
		return d.covers(m, whole)
	}
	return d.test(m.test, element, whole)
}

// covers reports whether each of the listed patterns is met by some element of the list.
func (d *Doc) covers(m *matcher, list at) bool {
	if list < 0 || d.tape.items[list].kind != kindList {
		return false
	}
	end := d.tape.items[list].end
	for _, kid := range m.kids {
		found := false
		d.run.loops = append(d.run.loops, loop{depth: int(m.depth)})
		for e := list + 1; e < end && !found && d.run.charge(1); e = d.tape.items[e].end {
			found = d.level(kid, e)
			d.run.loops[len(d.run.loops)-1].index++
		}
		d.run.loops = d.run.loops[:len(d.run.loops)-1]
		if !found {
			return false
		}
	}
	return true
}

// test compares one element. Presence, and equality with a list, concern the whole instead.
func (d *Doc) test(t *test, element, whole at) bool {
	if !d.run.charge(1) {
		return false
	}
	if t.op == codeExist {
		return whole >= 0
	}
	if t.ref != nil {
		if whole < 0 {
			return false
		}
		root := d.root(t.ref.root)
		if root == broken {
			d.run.failed = errNoJSON
			return false
		}
		return d.refer(t, 0, root, element, whole)
	}
	if t.op == codeIn && len(t.more.lists) > 0 && whole >= 0 && d.isAnyOf(t, t.more.lists, whole) {
		return true
	}
	if t.op == codeEq && t.kind == kindList {
		return whole >= 0 && equal(&d.tape, whole, t.literal, t.root, &d.run.meter)
	}
	if element < 0 {
		return false
	}
	it := &d.tape.items[element]
	switch t.op {
	case codeEq:
		switch t.kind {
		case kindText:
			return it.kind == kindText && (it.text == t.text || t.isInstant && sameInstant(it.text, t.instant))
		case kindNull, kindTrue, kindFalse:
			return it.kind == t.kind
		case kindNumber:
			if it.kind != kindNumber {
				return false
			}
			n, _ := d.tape.number(element)
			return n.compare(t.number) == 0
		}
		return equal(&d.tape, element, t.literal, t.root, &d.run.meter)
	case codeSame:
		n, ok := d.tape.number(element)
		return ok && n.compare(t.number) == 0
	case codeGt, codeGte, codeLt, codeLte:
		order, ok := d.order(t, element)
		return ok && holds(t.op, order)
	case codeIn:
		return d.isIn(t, element)
	case codeFilled:
		return filled(it)
	}
	return it.kind == kindText && d.run.charge(len(it.text)/64) && d.textTest(t, it.text)
}

func sameInstant(text string, wanted instant) bool {
	moment, ok := parseInstant(text)
	return ok && moment == wanted
}

// filled reports whether a value is neither null nor empty.
func filled(it *item) bool {
	switch it.kind {
	case kindNull:
		return false
	case kindText:
		return it.text != ""
	case kindList, kindObject:
		return it.bits > 0
	}
	return true
}

// order compares an element with the operand. ok is false when the two have no order.
func (d *Doc) order(t *test, element at) (order int, ok bool) {
	if t.kind == kindNumber {
		n, ok := d.tape.number(element)
		if !ok {
			return 0, false
		}
		return n.compare(t.number), true
	}
	it := &d.tape.items[element]
	if it.kind != kindText {
		return 0, false
	}
	if t.isInstant {
		if moment, ok := parseInstant(it.text); ok {
			return moment.compare(t.instant), true
		}
	}
	return strings.Compare(it.text, t.text), true
}

func holds(op opcode, order int) bool {
	switch op {
	case codeGt:
		return order > 0
	case codeGte:
		return order >= 0
	case codeLt:
		return order < 0
	}
	return order <= 0
}

func (d *Doc) isIn(t *test, element at) bool {
	it := &d.tape.items[element]
	if it.kind != kindText {
		return d.isAnyOf(t, t.more.others, element)
	}
	if t.more.textSet != nil {
		if _, ok := t.more.textSet[it.text]; ok {
			return true
		}
	} else if slices.Contains(t.more.texts, it.text) {
		return true
	}
	if len(t.more.instants) > 0 {
		if moment, ok := parseInstant(it.text); ok {
			return slices.Contains(t.more.instants, moment)
		}
	}
	return false
}

func (d *Doc) isAnyOf(t *test, members []at, value at) bool {
	for _, member := range members {
		if equal(&d.tape, value, t.literal, member, &d.run.meter) {
			return true
		}
	}
	return false
}

// textTest runs the comparisons that only texts can satisfy.
func (d *Doc) textTest(t *test, text string) bool {
	if t.op == codeRegex {
		return d.run.charge(t.more.regexSize*len(text)/2) && t.more.regex.MatchString(text)
	}
	if t.more == nil {
		return textHolds(t.op, text, t.text)
	}
	for _, part := range t.more.texts {
		if textHolds(t.op, text, part) {
			return true
		}
	}
	return false
}

func textHolds(op opcode, text, part string) bool {
	switch op {
	case codeStartsWith:
		return strings.HasPrefix(text, part)
	case codeEndsWith:
		return strings.HasSuffix(text, part)
	}
	return strings.Contains(text, part)
}

// refer follows a reference from its i-th step on, and compares with each value that it leads to. Without a
// place in brackets a list on the way stands for all its elements, of which one is enough.
func (d *Doc) refer(t *test, i int, value, element, whole at) bool {
	if value < 0 || !d.run.charge(1) {
		return false
	}
	if i == len(t.ref.steps) {
		return d.relation(t.op, element, whole, value)
	}
	it := &d.tape.items[value]
	s := t.ref.steps[i]
	switch {
	case s.list:
		index := s.index
		if s.here {
			index = d.place(t.ref.loops[i])
		}
		if it.kind != kindList || index < 0 || index >= int(it.bits) || !d.run.charge(index/8) {
			return false
		}
		e := value + 1
		for ; index > 0; index-- {
			e = d.tape.items[e].end
		}
		return d.refer(t, i+1, e, element, whole)
	case it.kind == kindObject:
		return d.run.charge(int(it.bits)/8) && d.refer(t, i+1, d.tape.get(value, s.key), element, whole)
	case it.kind == kindList:
		for e := value + 1; e < it.end; e = d.tape.items[e].end {
			if d.refer(t, i, e, element, whole) {
				return true
			}
		}
	}
	return false
}

// place returns the place of the element being matched in the list at a depth, or in the innermost list.
func (d *Doc) place(depth int) int {
	for i := len(d.run.loops) - 1; i >= 0; i-- {
		if depth < 0 || d.run.loops[i].depth == depth {
			return d.run.loops[i].index
		}
	}
	return -1
}

// relation compares an element, or the whole list that it is in, with another field of the document.
func (d *Doc) relation(op opcode, element, whole, other at) bool {
	a := &d.tape
	it := &a.items[other]
	switch op {
	case codeEq:
		if it.kind == kindList {
			return equal(a, whole, a, other, &d.run.meter)
		}
		return element >= 0 && equal(a, element, a, other, &d.run.meter)
	case codeIn:
		if it.kind == kindList {
			return d.memberOf(element, whole, other)
		}
		op = codeContains
	case codeGt, codeGte, codeLt, codeLte:
		if element < 0 {
			return false
		}
		order, ok := d.orderOf(element, other)
		return ok && holds(op, order)
	}
	if element < 0 || a.items[element].kind != kindText || !d.run.charge(len(a.items[element].text)/64) {
		return false
	}
	if it.kind == kindText {
		return textHolds(op, a.items[element].text, it.text)
	}
	if it.kind == kindList {
		for e := other + 1; e < it.end; e = a.items[e].end {
			if a.items[e].kind == kindText && d.run.charge(1) && textHolds(op, a.items[element].text, a.items[e].text) {
				return true
			}
		}
	}
	return false
}

// memberOf reports whether an element is in another list, or the whole list is one of its elements.
func (d *Doc) memberOf(element, whole, list at) bool {
	a := &d.tape
	for e := list + 1; e < a.items[list].end; e = a.items[e].end {
		value := element
		if a.items[e].kind == kindList {
			value = whole
		}
		if value >= 0 && equal(a, value, a, e, &d.run.meter) {
			return true
		}
	}
	return false
}

// orderOf compares two values of the document: as numbers when one is a number and the other a number or a
// numeric string, as texts or times when both are texts.
func (d *Doc) orderOf(x, y at) (order int, ok bool) {
	a, b := &d.tape.items[x], &d.tape.items[y]
	switch {
	case a.kind == kindNumber || b.kind == kindNumber:
		n, ok1 := d.tape.number(x)
		o, ok2 := d.tape.number(y)
		if !ok1 || !ok2 {
			return 0, false
		}
		return n.compare(o), true
	case a.kind == kindText && b.kind == kindText:
		return compareTexts(a.text, b.text), true
	}
	return 0, false
}
