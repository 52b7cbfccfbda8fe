// What the terminal behind a descriptor can show. Threads: any.
#pragma once

namespace shoal::base {

[[nodiscard]] bool is_terminal(int fd);

// Colours only on a terminal, and not when NO_COLOR is set to something or TERM is `dumb`.
// Source: https://no-color.org
[[nodiscard]] bool wants_colour(int fd);

// Columns of the terminal, or 80.
[[nodiscard]] int terminal_columns(int fd);

}  // namespace shoal::base
