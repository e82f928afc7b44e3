package dispatch

// queue is a 4-ary heap with its keys inline: the smallest order first, equal
// ones in the sequence of their arrival. Each item knows its index, so that it
// can be removed from the middle in O(log n). A binary heap would touch twice
// as many cache lines on the way down.
type queue[T placed] struct {
	entries []entry[T]
}

// placed is an item of a queue.
type placed interface {
	comparable
	place(index int) // the item is at index now; -1 = in no queue
	placed() int
}

type entry[T placed] struct {
	rank rank
	item T
}

// rank orders a queue.
type rank struct {
	order    int64  // the fair tag, moved by the priority
	sequence uint64 // of arrival
}

func (r rank) before(o rank) bool {
	return r.order < o.order || r.order == o.order && r.sequence < o.sequence
}

func (q *queue[T]) len() int { return len(q.entries) }

// head returns the first item; the queue must not be empty.
func (q *queue[T]) head() T { return q.entries[0].item }

// first returns the rank of the head; the queue must not be empty.
func (q *queue[T]) first() rank { return q.entries[0].rank }

func (q *queue[T]) push(r rank, item T) {
	q.entries = append(q.entries, entry[T]{r, item})
	q.up(len(q.entries) - 1)
}

// remove takes the item out, wherever it is.
func (q *queue[T]) remove(item T) {
	i := item.placed()
	item.place(-1)
	last := len(q.entries) - 1
	moved := q.entries[last]
	q.entries[last] = entry[T]{}
	q.entries = q.entries[:last]
	if i == last {
		if cap(q.entries) > 1024 && last < cap(q.entries)/8 {
			q.entries = append(make([]entry[T], 0, cap(q.entries)/4), q.entries...)
		}
		return
	}
	q.entries[i] = moved
	q.fix(i)
}

// rerank moves the item to where r belongs.
func (q *queue[T]) rerank(r rank, item T) {
	q.entries[item.placed()].rank = r
	q.fix(item.placed())
}

// follow keeps item, which stands for the head of another queue, where that
// ranks in q; nowhere while the other queue is empty.
func follow[T, U placed](q *queue[T], item T, of *queue[U]) {
	switch i := item.placed(); {
	case of.len() == 0:
		if i >= 0 {
			q.remove(item)
		}
	case i < 0:
		q.push(of.first(), item)
	case q.entries[i].rank != of.first():
		q.rerank(of.first(), item)
	}
}

func (q *queue[T]) fix(i int) {
	if i > 0 && q.entries[i].rank.before(q.entries[(i-1)/4].rank) {
		q.up(i)
	} else {
		q.down(i)
	}
}

func (q *queue[T]) up(i int) {
	e := q.entries[i]
	for i > 0 {
		parent := (i - 1) / 4
		if !e.rank.before(q.entries[parent].rank) {
			break
		}
		q.set(i, q.entries[parent])
		i = parent
	}
	q.set(i, e)
}

func (q *queue[T]) down(i int) {
	e := q.entries[i]
	for {
		least, end := 4*i+1, min(4*i+5, len(q.entries))
		if least >= end {
			break
		}
		for child := least + 1; child < end; child++ {
			if q.entries[child].rank.before(q.entries[least].rank) {
				least = child
			}
		}
		if !q.entries[least].rank.before(e.rank) {
			break
		}
		q.set(i, q.entries[least])
		i = least
	}
	q.set(i, e)
}

func (q *queue[T]) set(i int, e entry[T]) {
	q.entries[i] = e
	e.item.place(i)
}
