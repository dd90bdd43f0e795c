// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package attach

import (
	"errors"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// lock keeps other instances from creating, checking or removing qdiscs in the thread's
// network namespace. It is the name of an abstract Unix socket. A change takes it with its
// first filter and holds it to the end, but lets others have a turn if it is long.
//
// Any user can hold the name, and so can a stopped instance. So wait for it once per change.
// After a timeout, skip waiting for a minute and proceed unlocked.
type lock struct {
	// warn is called once after a timeout.
	warn func(message string, fields ...zap.Field)
	// late reports whether to stop waiting.
	late func() bool
	// taken is set after take. Without success there is no socket.
	taken  bool
	socket abstractSocket
	// since is when it was taken, or was not.
	since time.Time
	// waitAgain is the time of the next wait.
	waitAgain time.Time
	warned    bool
}

// LockWait is the longest time that a change waits for the lock.
const LockWait = time.Second

const (
	lockName  = namePrefix + "lock"
	lockPause = time.Millisecond
	lockTurn  = LockWait / 4
	// lockRest is how long a lock is tried without waiting after a timeout.
	lockRest = time.Minute
)

// take is called before each filter.
func (l *lock) take() {
	if l.taken && time.Since(l.since) < lockTurn {
		return
	}
	l.release()
	// Others that wait try at intervals. Let them be first.
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
