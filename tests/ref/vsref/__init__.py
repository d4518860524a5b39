# SPDX-License-Identifier: Apache-2.0
"""A second reader and writer of the store, made from spec/store.md alone.

It shares no line with the C code, so where the two agree it is because the
page says so. It is slow and small on purpose, and refuses whatever the page
does not allow.
"""
