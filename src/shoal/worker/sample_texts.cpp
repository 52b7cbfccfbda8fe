#include "shoal/worker/sample_texts.h"

namespace shoal::worker {
namespace {

constexpr const char* kHarbour =
    R"text(The ferry left the harbour a little after six, when the light on the water was still grey and the gulls had not
yet begun to quarrel over the nets. Marta stood at the rail with her collar turned up and counted the buoys as they
passed: four red, three green, and then the long open reach where nothing marked the channel but the colour of the sea.
She had made the crossing every week for eleven years. The captain no longer asked for her ticket, and the boy who
coiled the ropes had grown into a man with a beard and two children while she watched.

"You are early today," he said, and handed her a mug of tea without being asked.

"The clocks changed," she answered. "I am exactly as late as I always am."

He laughed, because it was true. On the far side the mail was waiting in three canvas sacks. There would be letters
from the mainland, a box of seeds for the school, and the long brown envelope that came on the first of each month and
that old Henrik at the lighthouse never opened. In the spring she had asked him why. He had looked at the envelope for
a while, as one looks at a dog that may or may not bite, and said that as long as it was closed it could still contain
anything at all.

By noon the wind had turned to the north. The post office was one room with a stove, a scale, a counter of dark wood,
and a window from which the whole bay could be seen. Marta sorted by street and then by house, quickly, with both
hands; she could have done it in the dark, and on some winter afternoons when the cable failed she did. People came in
for stamps and stayed for the warmth. They spoke of the price of diesel, of the new teacher, of a seal that had learned
to open the lids of the fish boxes. Nobody spoke of the bridge, although everybody was thinking of it, since a bridge
would bring the road, and the road would bring everything else.
)text";

constexpr const char* kTides =
    R"text(Tides are caused by the difference in the gravitational pull of the Moon, and to a lesser degree of the Sun, on the
near and the far side of the Earth. The pull on the near side is stronger than the pull on the centre, and the pull on
the far side is weaker, so that the water is stretched along the line between the two bodies. This gives two bulges, and
as the Earth turns beneath them most coasts see two high waters and two low waters in a little more than a day: on
average twelve hours and twenty-five minutes pass from one high water to the next, because the Moon moves on in its
orbit while the Earth turns.

When Sun, Earth and Moon stand in a line, at new moon and at full moon, the two effects add up and the range is largest;
these are called spring tides, although they have nothing to do with the season. At the quarters the two effects work
against each other, and the range is smallest: neap tides. The height at a given place depends far more on the shape of
the coast than on astronomy. In the open ocean the range is less than one metre. In a funnel-shaped bay whose natural
period of oscillation is close to that of the tide it may exceed fifteen metres, while a nearly closed sea has almost
none. For this reason tide tables are not computed from first principles. The water level of a port is recorded for at
least a year, the record is decomposed into a few dozen sinusoidal constituents with known periods, and their measured
amplitudes and phases are used to predict the level for years to come. The largest constituent, with a period of 12.42
hours, is written M2; the solar one, S2, has exactly 12 hours; K1 and O1 account for the daily inequality.

The energy that is lost by friction in shallow seas slows the rotation of the Earth. A day becomes longer by about two
milliseconds in a century, and the Moon recedes by 3.8 centimetres each year, which has been measured with lasers and
the mirrors that astronauts left behind.
)text";

constexpr const char* kPython = R"text(import heapq
from collections import defaultdict


class Graph:
    """A directed graph with weights that are not negative."""

    def __init__(self):
        self.edges = defaultdict(list)

    def add(self, start, end, weight, both=False):
        if weight < 0:
            raise ValueError(f"the weight of {start} -> {end} is {weight}; wanted 0 or more")
        self.edges[start].append((end, weight))
        if both:
            self.edges[end].append((start, weight))

    def shortest(self, start, goal):
        """The length of the shortest path and the path itself, or (None, []) when there is none."""
        best = {start: 0}
        before = {}
        queue = [(0, start)]
        while queue:
            length, node = heapq.heappop(queue)
            if node == goal:
                path = [node]
                while node in before:
                    node = before[node]
                    path.append(node)
                return length, path[::-1]
            if length > best[node]:
                continue
            for neighbour, weight in self.edges[node]:
                candidate = length + weight
                if neighbour not in best or candidate < best[neighbour]:
                    best[neighbour] = candidate
                    before[neighbour] = node
                    heapq.heappush(queue, (candidate, neighbour))
        return None, []


def test_the_shorter_way_round_is_found():
    graph = Graph()
    graph.add("a", "b", 4)
    graph.add("a", "c", 1)
    graph.add("c", "b", 2)
    assert graph.shortest("a", "b") == (3, ["a", "c", "b"])
    assert graph.shortest("b", "a") == (None, [])
)text";

constexpr const char* kMixedCode = R"text(#include <algorithm>
#include <string>
#include <vector>

struct Interval {
  int begin;
  int end;  // not included
};

// Joins intervals that touch or overlap. O(n log n).
std::vector<Interval> merged(std::vector<Interval> intervals) {
  std::sort(intervals.begin(), intervals.end(), [](const Interval& a, const Interval& b) { return a.begin < b.begin; });
  std::vector<Interval> out;
  for (const Interval& interval : intervals) {
    if (!out.empty() && interval.begin <= out.back().end) {
      out.back().end = std::max(out.back().end, interval.end);
    } else {
      out.push_back(interval);
    }
  }
  return out;
}

{
  "name": "weather-station",
  "version": "2.4.1",
  "sensors": [
    {"id": 17, "kind": "temperature", "unit": "celsius", "range": [-40.0, 85.0], "enabled": true},
    {"id": 18, "kind": "humidity", "unit": "percent", "range": [0, 100], "enabled": true},
    {"id": 19, "kind": "pressure", "unit": "hPa", "range": [300, 1100], "enabled": false}
  ],
  "upload": {"url": "https://example.org/api/v1/readings", "every_seconds": 300, "retries": 5}
}

SELECT c.name, COUNT(o.id) AS orders, SUM(o.total) AS revenue
FROM customers AS c
LEFT JOIN orders AS o ON o.customer_id = c.id AND o.placed_at >= '2024-01-01'
WHERE c.country IN ('DE', 'FR', 'NL')
GROUP BY c.id, c.name
HAVING COUNT(o.id) > 3
ORDER BY revenue DESC
LIMIT 20;

#!/bin/sh
set -eu
for file in "$@"; do
  if [ ! -r "$file" ]; then
    echo "cannot read $file" >&2
    exit 1
  fi
  lines=$(wc -l < "$file")
  printf '%8d %s\n' "$lines" "$file"
done
)text";

constexpr const char* kLanguages =
    R"text(Der Zug nach Freiburg fährt heute von Gleis sieben ab und hat etwa zehn Minuten Verspätung. Wer umsteigen muss, sollte
sich beim Personal melden; die Anschlüsse in Karlsruhe werden nach Möglichkeit abgewartet. Im Speisewagen gibt es warme
Getränke, belegte Brote und am Nachmittag auch Kuchen.

La bibliothèque municipale est ouverte du mardi au samedi, de dix heures à dix-huit heures trente. Les lecteurs peuvent
emprunter jusqu'à huit livres pour trois semaines; un rappel est envoyé deux jours avant la date de retour, et le prêt
peut être prolongé une fois si personne n'a réservé l'ouvrage.

El mercado del barrio abre antes del amanecer. A las seis ya están colocadas las naranjas, los tomates y las cajas de
pescado con hielo, y los primeros clientes discuten los precios con más paciencia que esperanza. A mediodía casi todo
se ha vendido.

春天来了,河边的柳树长出了新叶。孩子们放学以后在草地上放风筝,老人们坐在长椅上聊天、下棋。天气不冷也不热,很适合出去走走。
我和朋友约好周末一起去爬山,带上水、面包和一些水果。人工智能是计算机科学的一个分支,它研究如何让机器完成需要人类智慧的任务。
)text";

std::vector<types::Message> recipe_chat() {
  using types::Role;
  return {
      {Role::kSystem, "You are a helpful assistant. Answer briefly and say when you are not sure.", ""},
      {Role::kUser, "I have two eggs, some flour, milk and an apple. What can I make for breakfast in twenty minutes?",
       ""},
      {Role::kAssistant,
       "Apple pancakes. Mix 100 g of flour with 150 ml of milk and the two eggs until the batter is smooth, add a "
       "pinch "
       "of salt, and let it rest for five minutes. Cut the apple into thin slices. Heat a little butter in a pan, pour "
       "in "
       "a ladle of batter, lay a few slices on top, and turn the pancake when the edge is golden brown, after about "
       "two "
       "minutes. The second side needs one minute.",
       ""},
      {Role::kUser, "I have no butter. Does oil work as well?", ""},
      {Role::kAssistant,
       "Yes. Use a neutral oil such as sunflower or rapeseed oil, about one teaspoon for each pancake. Olive oil works "
       "too, but you will taste it. Make sure that the pan is hot before the batter goes in, or it will stick.",
       ""},
      {Role::kUser, "How many pancakes will that give, and how many calories does each have?", ""},
      {Role::kAssistant,
       "About five pancakes of medium size. Each has roughly 150 kilocalories: 75 from the flour, 30 from the eggs, 20 "
       "from the milk, 15 from the apple and some more from the oil. This is an estimate; it depends on the kind of "
       "milk "
       "and on how much oil stays in the pan.",
       ""}};
}

std::vector<types::Message> arithmetic_chat() {
  using types::Role;
  return {{Role::kUser,
           "A shop sells notebooks for 2.40 euros each. Anna buys 7 notebooks and pays with a 20 euro note. How much "
           "change "
           "does she get? Explain step by step.",
           ""},
          {Role::kAssistant,
           "Step 1: the notebooks cost 7 * 2.40 = 16.80 euros.\nStep 2: the change is 20.00 - 16.80 = 3.20 "
           "euros.\n\nAnna gets "
           "3.20 euros back.",
           ""},
          {Role::kUser, "And if there is a discount of 10 % from five notebooks on? Give me the result as JSON.", ""},
          {Role::kAssistant,
           "```json\n{\"price\": 16.80, \"discount\": 1.68, \"to_pay\": 15.12, \"change\": 4.88}\n```\n\nThe discount "
           "of 10 % "
           "applies because she buys more than five. She pays 15.12 euros and gets 4.88 euros back.",
           ""},
          {Role::kUser, "Write a function in Python that computes this for any number of notebooks.", ""},
          {Role::kAssistant,
           "```python\ndef change(count, paid, price=2.40, discount=0.10, discount_from=5):\n    total = count * "
           "price\n    if "
           "count >= discount_from:\n        total *= 1 - discount\n    if paid < total:\n        raise "
           "ValueError(\"not enough "
           "money\")\n    return round(paid - total, 2)\n```\n\n`change(7, 20)` returns `4.88`.",
           ""}};
}

}  // namespace

std::vector<PromptInput> sample_texts() {
  return {std::string(kHarbour), recipe_chat(),           std::string(kPython),   std::string(kTides),
          arithmetic_chat(),     std::string(kLanguages), std::string(kMixedCode)};
}

std::string spoken(const PromptInput& text) {
  const auto* const messages = std::get_if<std::vector<types::Message>>(&text);
  if (messages == nullptr) return std::holds_alternative<std::string>(text) ? std::get<std::string>(text) : "";
  std::string out;
  for (const types::Message& message : *messages) out += message.content + "\n\n";
  return out;
}

}  // namespace shoal::worker
