# SPDX-License-Identifier: MIT
"""The page in a headless Firefox, by hand: the cases of browser_test.py that need nothing of Chromium's own.

    firefox_test.py BUILD [CASE...]
"""
import sys

import browser_test as cases
import firefox

SHORT = ["speech_comes_back", "reconnects_after_a_restart", "second_client_waits_its_turn", "keyboard_is_enough"]

if __name__ == "__main__":
    if not firefox.program():
        cases.door.skip("there is no firefox with PulseAudio (Debian: firefox-esr, pulseaudio, pulseaudio-utils)")
    cases.engine = firefox
    cases.talk.main([getattr(cases, name) for name in sys.argv[2:] or SHORT])
