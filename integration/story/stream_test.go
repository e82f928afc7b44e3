package story_test

import (
	"iter"
	"testing"

	"github.com/servicetools/servicetools/clientsdk"
	"github.com/servicetools/servicetools/integration/story"
)

type counter struct{}

func (counter) Count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := 0; i < n && yield(i); i++ {
		}
	}
}

func TestStory_streams(t *testing.T) {
	s := story.Start(t)
	s.Worker(counter{}, 2)
	c := s.Client()
	next := 0
	for item, err := range clientsdk.Stream[int](t.Context(), c, "count", 1000) {
		if err != nil || item != next {
			t.Fatalf("got %d, %v after %d items", item, err, next)
		}
		next++
	}
	if next != 1000 {
		t.Errorf("got %d items", next)
	}
}
