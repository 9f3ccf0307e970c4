package differential

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	conversations = flag.Int("conversations", 500, "how many conversations")
	firstSeed     = flag.Int64("seed", 1, "the first conversation's seed; 0: by the clock")
	once          = flag.Bool("once", false, "fail for a difference that is not seen again as well")
	length        = flag.Int("steps", 24, "roughly how many steps each has")
	inARow        = flag.Int("in-a-row", 1, "how often each is held before the next is")
	shrinkFor     = flag.Duration("shrink", 20*time.Second, "how long a difference may be made shorter")
	within        = flag.Duration("within", 3*time.Minute, "no conversation begins later; 0: whenever")
	differences   = flag.Int("differences", 3, "stop after so many; 0: never")
)

func TestConversationsThroughLockproxyAreThoseWithTheServer(t *testing.T) {
	seed := *firstSeed
	if seed == 0 {
		seed = time.Now().UnixNano() % 1_000_000_000
	}
	t.Logf("%d conversations from seed %d", *conversations, seed)
	result, err := Run(t.Context(), Config{Conversations: *conversations, Seed: seed, Length: *length, InARow: *inARow, Stop: *differences, Within: *within, ShrinkFor: *shrinkFor,
		Report: func(text string, again bool) {
			if t.Log(text); again || *once {
				t.Fail()
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d without a difference, %d with one, %d crashed PostgreSQL", result.Same, result.Different, result.Crashed)
}

var update = flag.Bool("update", false, "write what PostgreSQL answers into the golden transcripts")

func TestTranscriptsOfOldDifferencesHold(t *testing.T) {
	golden, err := NewGolden(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := golden.Close(); err != nil {
			t.Error(err)
		}
	}()
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			wrong, err := golden.Replay(path, *update)
			if err != nil {
				t.Fatal(err)
			}
			if wrong != "" {
				t.Error(wrong)
			}
		})
	}
}
