//! Numbered places for things that come and go, where a number of the past is recognised.

/// Names one thing in a [`Slots`]; another thing in the same place has another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u16,
}

/// A growing list of places, reused last in, first out.
pub(crate) struct Slots<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

struct Place<T> {
    generation: u16,
    value: Option<T>,
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// The key that the next [`insert`](Self::insert) returns.
    pub(crate) fn next_key(&self) -> Key {
        let index = self
            .free
            .last()
            .copied()
            .unwrap_or(self.places.len() as u32);
        let generation = self
            .places
            .get(index as usize)
            .map_or(0, |place| place.generation);
        Key { index, generation }
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        self.free.pop();
        match self.places.get_mut(key.index as usize) {
            Some(place) => place.value = Some(value),
            None => self.places.push(Place {
                generation: key.generation,
                value: Some(value),
            }),
        }
        key
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index as usize)?;
        place
            .value
            .as_ref()
            .filter(|_| place.generation == key.generation)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        place
            .value
            .as_mut()
            .filter(|_| place.generation == key.generation)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let key = Key {
                index: index as u32,
                generation: place.generation,
            };
            Some((key, place.value.as_ref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_does_not_reach_the_new_tenant() {
        let mut slots = Slots::new();
        let first = slots.insert('a');
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b');
        assert_eq!(second.index, first.index);
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&'b'));
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn the_next_key_is_known_beforehand() {
        let mut slots = Slots::new();
        for round in 0..3 {
            let key = slots.next_key();
            assert_eq!(slots.insert(round), key);
            if round == 1 {
                slots.remove(key);
            }
        }
        assert_eq!(
            slots.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            [0, 2]
        );
    }
}
