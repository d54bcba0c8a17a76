package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	hubStreams      = 1000
	hubStreamRounds = 3
	hubMemory       = 600e6
)

// all does something at once, so many times, and returns what failed.
func all(n int, do func(i int) error) error {
	var workers sync.WaitGroup
	failed := make([]error, n)
	for i := range n {
		workers.Go(func() { failed[i] = do(i) })
	}
	workers.Wait()
	return errors.Join(failed...)
}

// streams measures the hub's memory with many open streams, whose readers read
// nothing of a long answer until all of them are answered.
func (h *hubBench) streams(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, ReadBufferSize: 4 << 10}}
	defer client.CloseIdleConnections()
	pid := h.server.cmd.Process.Pid
	before, err := memory(pid, "VmRSS")
	if err != nil {
		return err
	}
	var peaks []int64
	for range hubStreamRounds {
		watching, seen := context.WithCancel(ctx)
		peak := make(chan int64, 1)
		go func() { peak <- watch(watching, pid, 20*time.Millisecond, true).peak }()
		err := h.oneRound(ctx, client)
		seen()
		peaks = append(peaks, <-peak)
		if err != nil {
			return err
		}
	}
	last := peaks[len(peaks)-1]
	h.add(fmt.Sprintf("hub: peak resident memory with %d open streams, each with an answer of %d KB that nobody reads for a while, %d times", hubStreams, heldAnswer>>10, hubStreamRounds),
		fmt.Sprintf("%s; the last time at most 1.2 of the first", megabytes(hubMemory)), fmt.Sprintf("%s; %s before", sizeList(peaks), megabytes(before)),
		yes(slices.Max(peaks) <= hubMemory && float64(last) <= 1.2*float64(peaks[0])))
	return nil
}

func sizeList(sizes []int64) string {
	text := ""
	for i, s := range sizes {
		if i > 0 {
			text += " / "
		}
		text += megabytes(s)
	}
	return text
}

// oneRound opens the streams, has all of them answered, and then reads them.
func (h *hubBench) oneRound(ctx context.Context, client *http.Client) error {
	open := make([]io.ReadCloser, hubStreams)
	defer func() {
		for _, body := range open {
			if body != nil {
				_ = body.Close() // what was read tells
			}
		}
	}()
	err := all(hubStreams, func(i int) error {
		resp, err := h.hub.post(ctx, client, h.hub.ask(streamed, "hold it", 1_000_000+i, false))
		if err == nil {
			open[i] = resp.Body
		}
		return err
	})
	if err != nil {
		return err
	}
	// The hub delivers a part of them at once, and again what did not get through;
	// in the end each answer is kept, and waits for its reader.
	for {
		if err := h.agent.release(ctx); err != nil {
			return err
		}
		n, err := h.waiting(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d answers were not kept: %w", n, hubStreams, err)
		}
	}
	// What was on its way between two looks is let go too.
	reading, stop := context.WithCancel(ctx)
	var releasing sync.WaitGroup
	defer releasing.Wait()
	defer stop()
	releasing.Go(func() {
		for wait(reading, 20*time.Millisecond) == nil {
			_ = h.agent.release(reading) // a stream that is not answered shows it
		}
	})
	return all(hubStreams, func(i int) error {
		n, err := io.Copy(io.Discard, open[i])
		if err == nil && n < heldAnswer {
			err = fmt.Errorf("a stream ended after %d bytes", n)
		}
		return err
	})
}
