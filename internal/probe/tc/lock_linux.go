// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package tc

import (
	"errors"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// lock keeps other instances from making, judging or removing qdiscs in the thread's
// network namespace. It is the name of an abstract Unix socket. It is taken with the first
// filter of a change and held to the end of the change, though others get a turn in a long
// one.
//
// Any user can hold the name, and so can an instance that is stopped. Therefore it is
// waited for once per change. After a timeout, waiting is skipped for a minute, and the
// change goes on unlocked.
type lock struct {
	// warn is called once, when nobody let go in time.
	warn func(message string, fields ...zap.Field)
	// late: do not wait any longer.
	late func() bool
	// taken, though perhaps without success: then there is no socket.
	taken  bool
	socket abstractSocket
	// since it is taken, or is not.
	since time.Time
	// waitAgain is when it makes sense to wait again.
	waitAgain time.Time
	warned    bool
}

// LockWait is how long a change waits for the lock, at most.
const LockWait = time.Second

const (
	lockName  = namePrefix + "lock"
	lockPause = time.Millisecond
	lockTurn  = LockWait / 4
	// lockRest is for how long a lock is only tried after a timeout.
	lockRest = time.Minute
)

// take is called before each filter.
func (l *lock) take() {
	if l.taken && time.Since(l.since) < lockTurn {
		return
	}
	l.release()
	// Those who wait look once in a while: let them be first.
	time.Sleep(time.Until(l.since.Add(2 * lockPause)))
	l.taken = true
	defer func() { l.since = time.Now() }()
	begin := time.Now()
	for {
		var err error
		if l.socket, err = bindAbstract(lockName); !errors.Is(err, unix.EADDRINUSE) {
			return
		}
		if time.Since(begin) >= LockWait {
			l.waitAgain = time.Now().Add(lockRest)
			l.warnOnce()
			return
		}
		if begin.Before(l.waitAgain) || l.late() {
			return
		}
		time.Sleep(lockPause)
	}
}

func (l *lock) warnOnce() {
	if !l.warned {
		l.warned = true
		l.warn("another process holds the filter lock; proceeding unlocked", zap.String("socket", "@"+lockName))
	}
}

// release may be called without take.
func (l *lock) release() {
	if l.taken {
		l.taken, l.since = false, time.Now()
		l.socket.close()
	}
}
