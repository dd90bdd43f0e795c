// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// tcLock keeps other instances from making, judging or removing qdiscs in the thread's
// network namespace: it is an abstract Unix socket's name. It is taken with the first
// filter of a change and held to the end of it, though others get a turn in a long one.
//
// Any user can hold the name, and so can an instance that is stopped. So it is not
// waited for per filter, nor again for a while after that was in vain: then we go on as
// if alone.
type tcLock struct {
	logger *zap.Logger
	// stopBy: there is no waiting after it, once it is set.
	stopBy *atomic.Pointer[time.Time]
	// taken, though perhaps in vain: then there is no socket.
	taken  bool
	socket abstractSocket
	// since it is taken, or is not.
	since time.Time
	// waitAgain is when it makes sense to wait again.
	waitAgain time.Time
	warned    bool
}

const (
	tcLockName  = tcNamePrefix + "lock"
	tcLockPause = time.Millisecond
	tcLockWait  = time.Second
	tcLockTurn  = tcLockWait / 4
	// tcLockRest is for how long a lock that was waited for in vain is only tried.
	tcLockRest = time.Minute
)

// take is called before each filter.
func (l *tcLock) take() {
	if l.taken && time.Since(l.since) < tcLockTurn {
		return
	}
	l.release()
	// Those who wait look once in a while: let them be first.
	time.Sleep(time.Until(l.since.Add(2 * tcLockPause)))
	l.taken = true
	defer func() { l.since = time.Now() }()
	begin := time.Now()
	for {
		var err error
		if l.socket, err = bindAbstract(tcLockName); !errors.Is(err, unix.EADDRINUSE) {
			return
		}
		if time.Since(begin) >= tcLockWait {
			l.waitAgain = time.Now().Add(tcLockRest)
			l.warn()
			return
		}
		if begin.Before(l.waitAgain) || l.late() {
			return
		}
		time.Sleep(tcLockPause)
	}
}

// late: we are to stop, and have waited for others long enough.
func (l *tcLock) late() bool {
	limit := l.stopBy.Load()
	return limit != nil && time.Now().After(*limit)
}

func (l *tcLock) warn() {
	if !l.warned {
		l.warned = true
		l.logger.Warn("somebody holds the lock of the filters; going on without", zap.String("socket", "@"+tcLockName))
	}
}

// release may be called without take.
func (l *tcLock) release() {
	if l.taken {
		l.taken, l.since = false, time.Now()
		l.socket.close()
	}
}
