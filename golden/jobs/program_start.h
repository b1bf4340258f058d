#pragma once

namespace meshparity {

/// What every program does before anything else. Standard streams that the caller closed are opened
/// on /dev/null, so that no file of ours gets their numbers: reading and printing fail, and what is
/// said on standard error is lost. Temporary files do not outlive signals, see
/// `remove_temporaries_on_signals`.
void start_program() noexcept;

}  // namespace meshparity
