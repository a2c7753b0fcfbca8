# SPDX-License-Identifier: MIT
"""The page in a headless Firefox, by hand: the cases of browser_test.py and browser_sound_test.py that need nothing of
Chromium's own.

    firefox_test.py BUILD [CASE...]
"""
import sys

import browser_sound_test
import browser_test
import firefox
import opened

SHORT = ["speech_comes_back", "reconnects_after_a_restart", "second_client_waits_its_turn", "keyboard_is_enough"]

if __name__ == "__main__":
    if not firefox.program():
        opened.door.skip("there is no firefox with PulseAudio (Debian: firefox-esr, pulseaudio, pulseaudio-utils)")
    opened.engine = firefox
    known = {case.__name__: case for case in browser_sound_test.CASES + browser_test.CASES}
    opened.talk.main([known[name] for name in sys.argv[2:] or SHORT])
