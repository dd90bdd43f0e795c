// SPDX-License-Identifier: Apache-2.0

package stream

import "math/bits"

const (
	// smallest and classes bound the sizes of buffers: powers of two, 64 bytes to 8 MiB.
	smallest = 6
	classes  = 18
	// Largest is the size of the largest buffer.
	Largest = 1 << (smallest + classes - 1)
)

// Pool lends buffers, and refuses what would exceed its limit. What it keeps for reuse
// counts too. It is for one goroutine.
type Pool struct {
	limit, lent, kept int
	// held is what of lent Hold counted.
	held int
	// spare is left to Reserve.
	spare int
	free  [classes][][]byte
}

// NewPool makes a pool that lends at most limit bytes. A quarter of them is only for
// Reserve.
func NewPool(limit int) *Pool { return &Pool{limit: limit, spare: limit / 4} }

// Lent are the bytes that are out, without those that connections hold.
func (p *Pool) Lent() int { return p.lent - p.held }

// Held are the bytes that Hold counted.
func (p *Pool) Held() int { return p.held }

// Hold counts what a connection takes as long as it is followed. Half of the limit is left to
// what connections send. It reports false, and counts nothing, if the bytes exceed that.
func (p *Pool) Hold(n int) bool {
	if p.held+n > p.limit/2 || !p.Reserve(n) {
		return false
	}
	p.held += n
	return true
}

// Let gives back what Hold counted.
func (p *Pool) Let(n int) {
	p.held -= n
	p.Release(n)
}

// Reserve counts bytes that somebody else holds. It reports false, and counts nothing, if
// they exceed the limit.
func (p *Pool) Reserve(n int) bool {
	if p.lent+n > p.limit {
		return false
	}
	if p.lent+p.kept+n > p.limit {
		p.drop()
	}
	p.lent += n
	return true
}

// Release gives back what Reserve counted.
func (p *Pool) Release(n int) { p.lent -= n }

// Get lends an empty buffer with room for n bytes; nil if the limit forbids it.
func (p *Pool) Get(n int) []byte {
	class := max(bits.Len(uint(max(n, 1)-1)), smallest) - smallest
	if class >= classes {
		return nil
	}
	size := 1 << (class + smallest)
	if p.lent+size > p.limit-p.spare {
		return nil
	}
	if last := len(p.free[class]) - 1; last >= 0 {
		b := p.free[class][last]
		p.free[class] = p.free[class][:last]
		p.kept -= size
		p.lent += size
		return b
	}
	if !p.Reserve(size) {
		return nil
	}
	return make([]byte, 0, size)
}

// Put takes a buffer back. Nil is allowed.
func (p *Pool) Put(b []byte) {
	if cap(b) == 0 {
		return
	}
	class := bits.Len(uint(cap(b))) - 1 - smallest
	p.lent -= cap(b)
	p.kept += cap(b)
	p.free[class] = append(p.free[class], b[:0])
}

// Append adds data to a buffer of the pool and returns the buffer, perhaps another one.
// It reports false, and adds nothing, if the limit forbids it.
func (p *Pool) Append(b, data []byte) ([]byte, bool) {
	b, ok := p.Grow(b, len(data))
	if !ok {
		return b, false
	}
	return append(b, data...), true
}

// Grow makes room for n bytes more in a buffer of the pool and returns the buffer, perhaps another
// one. It reports false if the limit forbids it.
func (p *Pool) Grow(b []byte, n int) ([]byte, bool) {
	if len(b)+n <= cap(b) {
		return b, true
	}
	larger := p.Get(len(b) + n)
	if larger == nil {
		return b, false
	}
	larger = append(larger, b...)
	p.Put(b)
	return larger, true
}

// drop leaves what is kept to the garbage collector.
func (p *Pool) drop() {
	for i := range p.free {
		clear(p.free[i])
		p.free[i] = p.free[i][:0]
	}
	p.kept = 0
}
